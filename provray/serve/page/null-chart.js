// A score against what unrelated pairs score. Places along the axis are percent, so that a chart fits any width.

import { HEIGHT, hill, interpolate, roundValues } from './density.js';
import { el, modelName, svg } from './elements.js';
import { LINES, legendKey, marker } from './marks.js';
import { count, finite, number, small } from './words.js';

const LANE = 15, ROOM = 3.4, TOP = 6, BASE = TOP + HEIGHT;

/** The figure of one axis. curve: a `NullCurve` of the answer; styles: number of each drawn model's marker. */
export function nullFigure(axis, title, curve, styles, fdr) {
  const chart = geometry(curve, styles);
  return el('figure', { class: 'null', 'aria-labelledby': `null-${axis}` },
    el('h3', { id: `null-${axis}` }, title),
    chart ? el('div', { class: 'box' }, drawing(title, curve, chart)) : null,
    chart ? el('figcaption', {}, legend(chart, fdr)) : null,
    el('p', { class: 'more' }, basis(curve)));
}

function geometry(curve, styles) {
  const known = curve.quantiles.filter(([p, v]) => finite(p) !== null && finite(v) !== null).sort((a, b) => a[0] - b[0]);
  const marks = curve.values.filter(([model, value]) => styles.has(model) && finite(value) !== null).slice(0, LINES);
  if (!known.length || !marks.length) return null;
  const shares = known.map(([share]) => share);
  const values = known.map(([, value]) => value);
  for (let k = 1; k < values.length; k++) values[k] = Math.max(values[k], values[k - 1]);
  const limit = finite(curve.limit);
  const everything = [...values, ...marks.map(([, value]) => value), ...(limit === null ? [] : [limit])];
  const pad = 0.06 * (Math.max(...everything) - Math.min(...everything)) || 0.5;
  const low = Math.min(...everything) - pad, high = Math.max(...everything) + pad;
  const x = value => Math.round(1e4 * (value - low) / (high - low)) / 100;
  const halved = shares[0] <= 0.25 && shares[shares.length - 1] >= 0.75;
  return {
    hill: hill(shares, values, low, high),
    middle: halved ? [0.25, 0.75].map(share => x(interpolate(share, shares, values))) : null,
    top: { at: x(values[values.length - 1]), value: values[values.length - 1], share: shares[shares.length - 1] },
    limit: limit === null ? null : { at: x(limit), value: limit },
    marks: spread(marks.map(([model, value]) => ({ model, value, at: x(value), style: styles.get(model) }))),
    ticks: roundValues(low, high).map(value => ({ at: x(value), label: String(+value.toPrecision(4)).replace('-', '−') })),
  };
}

/** Marks stand on the baseline, those that would hide each other one lane higher. */
function spread(marks) {
  const ends = [];
  for (const mark of [...marks].sort((a, b) => a.at - b.at || a.style - b.style)) {
    const free = ends.findIndex(end => mark.at - end >= ROOM);
    const lane = free < 0 ? ends.length : free;
    ends.length = lane;
    ends.push(mark.at);
    mark.y = HEIGHT - 7 - lane * LANE;
  }
  return marks;
}

function drawing(title, curve, { hill: path, middle, top, limit, marks, ticks }) {
  const upright = (kind, at, from) => svg('line', { class: kind, x1: `${at}%`, x2: `${at}%`, y1: from, y2: BASE });
  const said = [`${title}, ${curve.score}.`, `${topWords(top)}: ${number(top.value)}.`,
    ...marks.map(mark => `${mark.model}: ${number(mark.value)}.`), limit ? `Limit: ${number(limit.value)}.` : ''];
  return svg('svg', { width: '100%', height: 178, role: 'img', 'aria-label': said.join(' ').trim() },
    ticks.map(({ at, label }) => [upright('grid', at, TOP), svg('text', { x: `${at}%`, y: 154, 'text-anchor': 'middle' }, label)]).flat(),
    path ? svg('svg', { y: TOP, width: '100%', height: HEIGHT, viewBox: `0 0 100 ${HEIGHT}`, preserveAspectRatio: 'none' }, svg('path', { class: 'hill', d: path })) : null,
    middle ? svg('line', { class: 'middle', x1: `${middle[0]}%`, x2: `${middle[1]}%`, y1: BASE - 2.5, y2: BASE - 2.5 }, svg('title', {}, 'half of all unrelated pairs lie here')) : null,
    svg('line', { class: 'base', x1: 0, x2: '100%', y1: BASE, y2: BASE }),
    upright('highest', top.at, BASE - 42),
    limit ? upright('bound', limit.at, TOP) : null,
    [...marks].reverse().map(mark => svg('svg', { x: `${mark.at}%`, y: mark.y + 4, overflow: 'visible' },
      svg('g', { class: `series s${mark.style}`, transform: 'scale(1.5)' }, svg('title', {}, `${mark.model}: ${number(mark.value)}`), marker(mark.style, 0, 0)))),
    svg('text', { x: '50%', y: 171, 'text-anchor': 'middle' }, `${curve.score} of the pair`));
}

function legend({ hill: path, top, limit, marks }, fdr) {
  const swatch = kind => svg('svg', { class: 'swatch', width: 8, height: 12, 'aria-hidden': 'true' }, svg('line', { class: kind, x1: 4, x2: 4, y2: 12 }));
  return el('ul', { class: 'legend' },
    marks.map(mark => el('li', {}, legendKey(mark.style, false), el('span', {}, modelName(mark.model), ` ${number(mark.value)}`))),
    path ? el('li', { class: 'quiet' }, svg('svg', { class: 'swatch', width: 22, height: 12, 'aria-hidden': 'true' }, svg('path', { class: 'hill', d: 'M1 11C8 11 7 2 11 2S14 11 21 11z' })), 'unrelated pairs') : null,
    el('li', { class: 'quiet' }, swatch('highest'), topWords(top)),
    limit ? el('li', { class: 'quiet' }, swatch('bound'), `limit ${number(limit.value)} at a false discovery rate of ${fdr}`) : null);
}

const topWords = top => top.share === 1
  ? 'highest score of an unrelated pair' : `${+(100 * top.share).toPrecision(4)} % of unrelated pairs score lower`;

function basis(curve) {
  const of = curve.origin === 'index' ? ', of this index' : curve.origin === 'shipped' ? ', the reference models that ship with provray: not yours' : '';
  const best = finite(curve.value) === null ? '' : `Best value ${number(curve.value)}, p = ${small(curve.p_value)}. `;
  const tail = curve.p_value * curve.pairs < 1 ? ' A p-value below one in that many pairs was not counted: it rests on the fitted tail.' : '';
  return `${best}The null was measured on ${count(curve.pairs)} pairs of unrelated models from ${count(curve.families)} families (${curve.condition})${of}.${tail}`;
}
