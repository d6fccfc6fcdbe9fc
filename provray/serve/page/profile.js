// How alike models are from their first layer to their last, one chart for each kind of probes.

import { el, modelName, svg } from './elements.js';
import { LINES, legendKey, marker, meter } from './marks.js';
import { finite, number } from './words.js';

const DEPTHS = ['0', '1/6', '1/3', '1/2', '2/3', '5/6', '1'];
const WIDTH = 340, HEIGHT = 176, LEFT = 40, RIGHT = WIDTH - 10, TOP = 10, BOTTOM = HEIGHT - 34;
const STRATA = [
  ['noise', 'Noise', 'Inputs that no training prepared it for: what inherited layers alone keep.'],
  ['mixed', 'Mixed inputs', 'Real inputs blended: where the borders between its answers lie.'],
  ['natural', 'Natural inputs', 'Real inputs: here every model that was trained alike looks alike.'],
];

/** Charts of the first few candidates by stratum, with their legend; null if nothing was measured. */
export function profiles(candidates) {
  const shown = candidates.slice(0, LINES);
  const lines = stratum => shown.map((one, style) => ({
    name: one.model, style, values: DEPTHS.map(depth => finite(one.scores.dna[`${stratum}@${depth}`])),
  })).filter(line => line.values.some(value => value !== null));
  const measured = STRATA.map(([id, title, words]) => ({ id, title, words, lines: lines(id) })).filter(one => one.lines.length);
  if (!measured.length) return null;
  const low = Math.min(0, Math.floor(2 * Math.max(-1, ...[Math.min(...measured.flatMap(m => m.lines.flatMap(l => l.values)).filter(v => v !== null))])) / 2);
  return el('div', {},
    el('div', { class: 'strata' }, ...measured.map(one => el('figure', { class: 'stratum' },
      el('figcaption', {}, el('h3', {}, one.title), el('p', { class: 'quiet' }, one.words)), chart(one, low)))),
    el('ul', { class: 'legend' }, ...shown.map((one, style) =>
      el('li', {}, legendKey(style), el('span', {}, modelName(one.model), ' ', el('span', { class: 'quiet' }, one.relation))))));
}

function chart({ title, lines }, low) {
  const x = k => LEFT + (RIGHT - LEFT) * k / (DEPTHS.length - 1);
  const y = value => BOTTOM - (BOTTOM - TOP) * (Math.min(Math.max(value, low), 1) - low) / (1 - low);
  const said = lines.map(line => `${line.name}: ${DEPTHS.map((depth, k) => `${number(line.values[k])} at ${depth}`).join(', ')}.`);
  const heights = Array.from({ length: Math.round(2 * (1 - low)) + 1 }, (_, k) => low + k / 2);
  return svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${title}, by relative depth. ${said.join(' ')}` },
    heights.map(at => [svg('path', { class: 'grid', d: `M${LEFT} ${y(at).toFixed(1)}H${RIGHT}` }),
      svg('text', { x: LEFT - 6, y: (y(at) + 3.5).toFixed(1), 'text-anchor': 'end' }, number(at))]).flat(),
    svg('path', { class: 'zero', d: `M${LEFT} ${y(0).toFixed(1)}H${RIGHT}` }),
    DEPTHS.map((depth, k) => svg('text', { x: x(k).toFixed(1), y: BOTTOM + 15, 'text-anchor': 'middle' }, depth)),
    svg('text', { x: (LEFT + RIGHT) / 2, y: BOTTOM + 30, 'text-anchor': 'middle' }, 'relative depth: embedding to last layer'),
    [...lines].reverse().map(line => series(line, x, y)));
}

function series({ name, style, values }, x, y) {
  const places = values.map((value, k) => value === null ? null : [x(k).toFixed(1), y(value).toFixed(1)]);
  // broken where a depth was not measured
  const path = places.map((place, k) => place && `${places[k - 1] ? 'L' : 'M'}${place.join(' ')}`).filter(Boolean).join('');
  return svg('g', { class: `series s${style}` }, svg('title', {}, name), svg('path', { class: 'line', d: path }),
    places.filter(Boolean).map(([a, b]) => marker(style, Number(a), Number(b))));
}

const GIF = { feature_norm: 'Gradient field of the feature norm', top_logit: 'Gradient field of the top logit' };

/** What lies beside the layers: agreement of the answers, and of the gradient fields. Null if neither was measured. */
export function outputs(candidates) {
  const shown = candidates.slice(0, LINES);
  const dna = STRATA.map(([id, title]) => [`Answers on ${title.toLowerCase()}`, 'behaviour', one => one.scores.dna[`${id}@probabilities`]]);
  const scalars = [...new Set(shown.flatMap(one => Object.keys(one.scores.gif)))];
  const gif = scalars.map(id => [gifTitle(id), 'gif', one => one.scores.gif[id]]);
  const rows = [...dna, ...gif].map(([title, kind, of]) => ({ title, kind, values: shown.map(one => finite(of(one))) }))
    .filter(row => row.values.some(value => value !== null));
  if (!rows.length) return null;
  return el('div', { class: 'outputs' }, ...rows.map(row => el('div', {}, el('h3', {}, row.title),
    el('ul', {}, ...row.values.map((value, style) => el('li', {}, legendKey(style, false), modelName(shown[style].model),
      el('span', { class: 'figure' }, number(value)), meter(value, row.kind)))))));
}

function gifTitle(id) {
  const [stratum, scalar] = id.includes('@') ? id.split('@') : ['', id];
  return `${GIF[scalar] ?? `Gradient field of ${scalar}`}${stratum ? `, ${stratum}` : ''}`;
}
