// The verdict card: what is said, what each axis shows, how sure it is, and where the card says otherwise.

import { el, facts, modelName, prose, section } from './elements.js';
import { link } from './route.js';
import { cameFirst, certainty, count, number, sentence, small } from './words.js';

const AXES = [['weights', 'Inherited weights'], ['behaviour', 'Inherited behaviour']];
const VERDICTS = new Set(['copy', 'ancestor', 'descendant', 'sibling', 'related']);

/** A verdict in one word. */
export const chip = verdict => el('span', { class: `chip ${VERDICTS.has(verdict) ? verdict : 'none'}` }, verdict);

/** The head of an answer. */
export function verdictCard(answer, asOf) {
  const { query, index } = answer;
  const best = answer.ancestors[0] ?? answer.candidates[0];
  return el('header', { class: 'verdict' },
    el('p', { class: 'eyebrow' }, 'Ancestry of ', modelName(query.model), query.revision ? el('span', { class: 'revision' }, ` at ${query.revision.slice(0, 12)}`) : null),
    asOf ? el('p', { class: 'as-of' }, `As it stood in version ${index.version} of the index. `, el('a', { href: link('ask', { model: query.model }) }, 'Ask the newest')) : null,
    el('h1', { tabindex: -1 }, sentence(answer.says)),
    el('p', {}, el('span', { class: 'unseen' }, 'Verdict: '), chip(answer.verdict)),
    el('div', { class: 'axes' }, ...AXES.map(([axis, title]) =>
      el('div', { class: axis }, el('h2', {}, title), el('p', {}, `${sentence(answer.axes[axis] ?? 'not judged')}.`)))),
    answer.warnings.length ? el('ul', { class: 'warnings', 'aria-label': 'Warnings' }, ...answer.warnings.map(text => el('li', {}, prose(text)))) : null,
    facts([
      ...(best ? [
        ['probability of the best candidate', best.probability === null ? null : certainty(best.probability)],
        ['its p-value', small(best.p_value)],
        ['its q-value, over the whole index', small(best.q_value)],
      ] : []),
      ['false discovery rate allowed', String(answer.fdr)],
      [`models compared, version ${index.version} of ${index.name}`, count(index.models)],
    ], 'tally'));
}

/** Where the model's card and the evidence disagree; null where they do not. */
export function contradictions(found) {
  if (!found.length) return null;
  const side = (term, value) => value ? el('div', {}, el('dt', {}, term), el('dd', {}, modelName(value))) : null;
  return section('contradictions', 'What the card says otherwise',
    el('p', {}, 'A card is never counted as evidence. Where it disagrees with the evidence, that is a finding of its own.'),
    el('ul', { class: 'findings' }, ...found.map(one => el('li', {}, el('h3', {}, sentence(one.kind)), el('p', {}, one.text),
      el('dl', {}, side('declared', one.declared), side('inferred', one.inferred))))));
}

/** The models named as ancestors, nearest first. */
export function ancestors(found) {
  if (!found.length) return null;
  return section('ancestors', found.length === 1 ? 'Its ancestor' : 'Its ancestors, nearest first',
    el('ol', { class: 'ancestors' }, ...found.map(one => el('li', {},
      el('h3', {}, el('a', { href: link('ask', { model: one.model }) }, modelName(one.model))),
      el('p', {}, one.relation ? el('b', {}, sentence(one.relation)) : 'How it was made is not known', '. ', one.direction ? cameFirst(one.direction) : null),
      facts([
        ['rank score', number(one.score)],
        ['probability', one.probability === null ? null : certainty(one.probability)],
        ['p', small(one.p_value)],
        ['q', small(one.q_value)],
      ], 'figures'),
      one.direction?.reasons.length ? el('ul', { class: 'reasons' }, ...one.direction.reasons.map(text => el('li', {}, text))) : null))));
}
