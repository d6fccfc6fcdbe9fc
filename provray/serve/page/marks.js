// The four markers, colours and dashes by which up to four models are told apart in every chart.

import { svg } from './elements.js';

/** Models drawn in one chart. */
export const LINES = 4;

/** A marker centred at a place. */
export function marker(style, x, y) {
  switch (style % LINES) {
    case 0: return svg('circle', { cx: x, cy: y, r: 3.2 });
    case 1: return svg('path', { d: `M${x - 3.2} ${y - 3.2}h6.4v6.4h-6.4z` });
    case 2: return svg('path', { d: `M${x} ${y - 4.2}L${x + 4} ${y + 3}H${x - 4}z` });
    default: return svg('path', { d: `M${x} ${y - 4.4}L${x + 4.4} ${y}L${x} ${y + 4.4}L${x - 4.4} ${y}z` });
  }
}

/** What stands for a model in a legend: its marker, on its line if there is one. */
export function legendKey(style, line = true) {
  return svg('svg', { class: `key series s${style % LINES}`, width: line ? 34 : 14, height: 12, 'aria-hidden': 'true' },
    line ? svg('path', { class: 'line', d: 'M1 6H33' }) : null, marker(style, line ? 17 : 7, 6));
}

/** A bar from 0 to 1, with its limit as a line across. */
export function meter(value, kind, limit = null) {
  const share = x => `${(100 * Math.min(Math.max(x, 0), 1)).toFixed(1)}%`;
  return svg('svg', { class: `meter ${kind}`, width: 92, height: 14, 'aria-hidden': 'true' },
    svg('rect', { class: 'track', y: 4, width: '100%', height: 6, rx: 3 }),
    value > 0 ? svg('rect', { class: 'fill', y: 4, width: share(value), height: 6, rx: 3 }) : null,
    limit !== null && limit >= 0 && limit <= 1
      ? svg('line', { class: 'bound', x1: share(limit), x2: share(limit), y1: 0, y2: 14 }) : null);
}
