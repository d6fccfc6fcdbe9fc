// A family as an indented list: the same as the picture, for the keyboard, for screen readers, and to find a name in.

import { el, modelName } from './elements.js';
import { walk } from './family-tree.js';
import { link } from './route.js';
import { count, number } from './words.js';

const DEEPEST = 12;

/** The list of a tree, with a field that narrows it. Arrow keys walk along it; Enter opens. */
export function familyList(tree, focus) {
  const rows = walk(tree).map(({ node, level }) => row(node, level, focus));
  const list = el('ol', { class: 'kin', onkeydown: event => walkAlong(event, list) }, ...rows);
  const told = el('output', {});
  const find = el('input', { type: 'search', id: 'kin-find', autocomplete: 'off', spellcheck: 'false', placeholder: 'part of a name', oninput: () => {
    const words = find.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    for (const one of rows) one.hidden = !words.every(word => one.dataset.name.includes(word));
    told.textContent = words.length ? `${count(rows.filter(one => !one.hidden).length)} of ${count(rows.length)}` : '';
  } });
  return el('div', {}, el('p', { class: 'find' }, el('label', { for: 'kin-find' }, 'Find in this family'), find, told), list);
}

function row(node, level, focus) {
  const { model, link: edge, across } = node;
  const words = [];
  if (edge) {
    words.push(edge.direction_known ? `${edge.relation || 'made'} from ${edge.parent}` : `${edge.relation || 'kin'} of ${edge.parent}, which came first is not known`);
    words.push(`score ${number(edge.score)}`);
  } else words.push('no parent here');
  if (across.length) words.push(`also from ${across.map(one => one.parent).join(', ')}`);
  const reasons = [edge, ...across].filter(Boolean).flatMap(one => one.reasons);
  return el('li', { class: `level-${Math.min(level, DEEPEST)}`, 'data-name': model.toLowerCase() },
    el('a', { href: link('ask', { model }), 'aria-current': model === focus && 'true' }, modelName(model)),
    el('span', { class: 'quiet' }, ` ${words.join('; ')}`),
    reasons.length ? el('details', {}, el('summary', {}, 'what says so'), el('ul', { class: 'reasons' }, ...reasons.map(text => el('li', {}, text)))) : null);
}

function walkAlong(event, list) {
  const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!way && event.key !== 'Home' && event.key !== 'End') return;
  const links = [...list.querySelectorAll('li:not([hidden]) > a')];
  const place = event.key === 'Home' ? 0 : event.key === 'End' ? links.length - 1 : links.indexOf(document.activeElement) + way;
  event.preventDefault();
  links[Math.min(Math.max(place, 0), links.length - 1)]?.focus();
}
