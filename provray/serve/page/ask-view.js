// One question: asked, waited for, answered.

import { ask, get, modelPath } from './api.js';
import { el, facts, modelName, section } from './elements.js';
import { candidates, evidence } from './evidence.js';
import { familySection } from './family-view.js';
import { LINES } from './marks.js';
import { nullFigure } from './null-chart.js';
import { outputs, profiles } from './profile.js';
import { link, note } from './route.js';
import { isReference } from './search.js';
import { ancestors, contradictions, verdictCard } from './verdict.js';
import { count, several, size, when } from './words.js';

const AXES = [['weights', 'Inherited weights'], ['behaviour', 'Inherited behaviour']];

/** The view of a question. Throws Problem. */
export async function askView({ params, signal, show, say }) {
  const model = params.get('model') ?? '';
  const asOf = params.get('as_of');
  const question = { model };
  if (params.get('fdr')) question.fdr = Number(params.get('fdr'));
  if (asOf) question.as_of = Number(asOf);
  const words = el('p', { class: 'lede' }, 'Looking it up …');
  show(el('div', { class: 'waiting', role: 'status' },
    el('p', { class: 'eyebrow' }, 'Ancestry of ', modelName(model)), words, el('p', { class: 'running', 'aria-hidden': 'true' })));
  const answer = await ask(question, {
    job: params.get('job'),
    signal,
    onJob: job => {
      note({ job: job.id });
      words.textContent = progress(job);
    },
  });
  const found = drawAnswer(answer, asOf);
  show(found);
  say(`Verdict: ${answer.verdict}. ${answer.says}`);
  document.title = `${answer.query.model}: ${answer.verdict} – provray`;
  await details(found, answer, params, asOf, signal);
}

function progress(job) {
  const since = new Date(job.submitted).toLocaleTimeString();
  return job.state === 'running'
    ? `It is not indexed, so it is read and fingerprinted now: weights first, then its answers to the probes. Asked at ${since}; it may take minutes.`
    : `It is not indexed. It waits for a worker to read and fingerprint it. Asked at ${since}.`;
}

function drawAnswer(answer, asOf) {
  const styles = new Map(answer.candidates.slice(0, LINES).map((one, place) => [one.model, place]));
  const nulls = AXES.filter(([axis]) => answer.nulls[axis]).map(([axis, title]) => nullFigure(axis, title, answer.nulls[axis], styles, answer.fdr));
  const layers = profiles(answer.candidates);
  const beside = outputs(answer.candidates);
  return el('article', {},
    verdictCard(answer, asOf),
    contradictions(answer.contradictions),
    ancestors(answer.ancestors),
    el('div', { id: 'family-place' }),
    nulls.length ? section('nulls', 'Against unrelated models',
      el('p', {}, 'The grey hill is what pairs of unrelated models score. A mark far to its right is what chance does not explain.'), ...nulls) : null,
    layers ? section('layers', 'Layer by layer',
      el('p', {}, 'How alike the best candidates are to it, centred so that strangers score 0. Inherited weights start near 1 and fall towards the output; a student or a thief starts at nothing and stays low; a model that was merely trained alike is middling and flat.'), layers) : null,
    beside ? section('outputs', 'Answers and gradient fields',
      el('p', {}, 'How alike its answers are, and how alike these move with the input (GiF). Training alike can cause both.'), beside) : null,
    evidence(answer),
    candidates(answer),
    el('div', { id: 'facts-place' }));
}

/** What is asked after the verdict stands: the family, and what the index says of the model. Neither may fail it. */
async function details(place, answer, params, asOf, signal) {
  const { model } = answer.query;
  // A folder's model may be called like an indexed one: it is another.
  let indexed = model === params.get('model') || !isReference(params.get('model'));
  const known = indexed ? await get(modelPath(model), { as_of: asOf }, signal).catch(problem => {
    if (problem.name !== 'Problem') throw problem;
    indexed = problem.kind !== 'unknown-model';
    return null;
  }) : null;
  const centre = indexed ? model : answer.ancestors[0]?.model;
  if (signal.aborted) return;
  place.querySelector('#facts-place').replaceWith(about(answer, known, params));
  const family = place.querySelector('#family-place');
  if (!centre) return family.remove();
  family.replaceWith(await familySection(centre, { params, asOf, signal, of: indexed ? '' : model }));
}

function about({ query, index, fdr }, known, params) {
  const same = { model: params.get('model'), as_of: index.version, fdr, job: params.get('job') };
  const listed = values => values.length ? values.join(', ') : null;
  return section('facts', 'Facts',
    facts([
      ['Model', modelName(query.model)],
      ['Revision', query.revision],
      ...(known ? [
        ['Architecture', [known.architecture, known.model_type].filter(Boolean).join(', ')],
        ['Size', known.parameters ? `${size(known.parameters)} parameters, ${size(known.bytes, 'B')}` : null],
        ['Declared base', listed(known.base_model)],
        ['Declared licence', known.license],
        ['Bit-identical copies', known.copies.length ? el('span', {}, ...known.copies.flatMap((one, k) => [k ? ', ' : null, el('a', { href: link('ask', { model: one }) }, modelName(one))])) : null],
        ['Crawled', when(known.crawled)],
        ['Fingerprints', listed(known.kinds)],
        ['Other revisions', known.revisions.length > 1 ? several(known.revisions.length - 1, 'older revision') : null],
      ] : []),
      ['Index', `${index.name}, version ${index.version}, ${count(index.models)} models compared`],
      ['False discovery rate', String(fdr)],
      ['Spaces compared', el('span', {}, ...query.spaces.flatMap((space, k) => [k ? el('br') : null, el('code', {}, space)]))],
      ['Link', el('a', { href: link('ask', same) }, 'this answer, on this version of the index')],
    ]));
}
