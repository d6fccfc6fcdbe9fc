// What the verdict rests on: each score against its limit, and every candidate beside the others.

import { el, modelName, section, table } from './elements.js';
import { LINES, legendKey, meter } from './marks.js';
import { link } from './route.js';
import { certainty, finite, number, small } from './words.js';

const SCORES = { weights: 'Weights', biases: 'Biases', shared: 'Shared' };

/** The evidence about the ancestors, else about the best candidate; null if none was weighed. */
export function evidence(answer) {
  const named = new Set(answer.ancestors.map(one => one.model));
  const found = answer.candidates.filter(one => named.has(one.model));
  const judged = (found.length ? found : answer.candidates.slice(0, 1)).filter(one => one.evidence.length).slice(0, LINES);
  if (!judged.length) return null;
  return section('evidence', 'Evidence',
    el('p', {}, 'A score decides when it passes the limit that unrelated pairs exceed too rarely to be believed.'),
    ...judged.flatMap(one => [
      el('h3', { class: 'of' }, modelName(one.model), one.relation ? el('span', { class: 'quiet' }, ` ${one.relation}`) : null),
      table(`Evidence about ${one.model}`,
        [['Score'], ['Axis'], ['Value', 'figure'], ['Limit', 'figure'], ['', 'bar'], ['Result'], ['What it says', 'words']],
        one.evidence.map(proof => ({ cells: [proof.score, proof.axis, number(proof.value), number(proof.limit), bar(proof), result(proof), proof.text] })),
        'stacked proofs'),
    ]));
}

function bar({ axis, value, limit }) {
  const fits = finite(value) !== null && value >= -1 && value <= 1;
  return fits ? meter(value, axis, finite(limit)) : '';
}

function result({ value, limit, decided }) {
  if (limit === null) return el('span', { class: 'quiet' }, decided ? 'decides' : 'shown only');
  if (decided) return el('span', { class: 'yes' }, '✓ reached');
  return el('span', { class: 'quiet' }, value !== null && value > limit ? 'reached, decides nothing alone' : 'below');
}

/** All candidates, best first. */
export function candidates(answer) {
  if (!answer.candidates.length) {
    return section('candidates', 'Candidates', el('p', {}, 'Nothing in the index came near enough to be compared.'));
  }
  const named = new Set(answer.ancestors.map(one => one.model));
  const shown = Object.keys(SCORES).filter(name => answer.candidates.some(one => finite(one.scores[name]) !== null));
  const columns = [['Model', 'name'], ['Relation'], ['Rank score', 'figure'], ...shown.map(name => [SCORES[name], 'figure']),
    ['p', 'figure'], ['q', 'figure'], ['Probability', 'figure']];
  return section('candidates', 'Candidates',
    named.size ? el('p', {}, 'Shaded: named as an ancestor.') : null,
    table('Candidates', columns, answer.candidates.map((one, place) => ({
      kind: named.has(one.model) ? 'named' : '',
      cells: [
        el('span', { class: 'keyed' }, place < LINES ? legendKey(place) : el('span', { class: 'key' }), el('a', { href: link('ask', { model: one.model }) }, modelName(one.model))),
        one.relation || '–', number(one.score), ...shown.map(name => number(one.scores[name])),
        small(one.p_value), small(one.q_value), certainty(one.probability),
      ],
    })), 'stacked'));
}
