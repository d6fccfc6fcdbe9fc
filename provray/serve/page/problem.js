// What went wrong, in plain words, with the way out.

import { el } from './elements.js';
import { enterKey } from './key.js';
import { link } from './route.js';

const KEY = new Set(['no-key', 'bad-key', 'missing-scope']);

/** The panel of a Problem. again: asks once more. */
export function problemPanel(problem, again) {
  const ways = [];
  if (KEY.has(problem.kind)) ways.push(el('button', { type: 'button', class: 'primary', onclick: enterKey }, 'Enter a key'));
  else if (problem.kind === 'unknown-model') ways.push(el('a', { class: 'button', href: link('models') }, 'See all models'));
  else ways.push(el('button', { type: 'button', onclick: again }, 'Try again'));
  return el('div', { class: 'problem', role: 'alert' },
    el('h1', {}, problem.title),
    el('p', {}, `${problem.detail[0].toUpperCase()}${problem.detail.slice(1)}${/[.!?]$/.test(problem.detail) ? '' : '.'}`),
    el('p', { class: 'ways' }, ...ways),
    problem.request ? el('p', { class: 'quiet small' }, `Request ${problem.request}: the log of the service knows it by this id.`) : null);
}
