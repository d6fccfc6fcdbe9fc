// Elements made from data. Names, cards and reasons were written by strangers: a text becomes a text node or an
// attribute, never markup, and what does not print as itself (line breaks, direction overrides) is written out.

const SVG = 'http://www.w3.org/2000/svg';
const UNPRINTED = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

/** `text` with everything that does not print as itself written as an escape. */
export function visible(text) {
  return String(text).replace(UNPRINTED, c => `\\u${c.codePointAt(0).toString(16).padStart(4, '0')}`);
}

/** An element. Attributes that are null or false are left out, functions listen (`onclick`); children: texts or nodes. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** A model's name that may break after a slash. */
export function modelName(name, kind = 'model') {
  const parts = String(name).split('/');
  return el('span', { class: kind }, ...parts.flatMap((part, k) => k ? ['/', el('wbr'), part] : [part]));
}

/** A text with what stands between backticks as code. */
export function prose(text) {
  return el('span', {}, ...String(text).split('`').map((part, k) => k % 2 ? el('code', {}, part) : part));
}

/** A section with its heading. */
export function section(id, title, ...children) {
  return el('section', { 'aria-labelledby': id }, el('h2', { id }, title), ...children);
}

/** Terms and what they are, those without a value left out. */
export function facts(pairs, kind = 'facts') {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return el('dl', { class: kind }, ...known.map(([term, value]) => el('div', {}, el('dt', {}, term), el('dd', {}, value))));
}

/** A table in a frame that scrolls by itself. columns: [title, class]; rows: lists of cells, the first a heading. */
export function table(label, columns, rows, kind = '') {
  const head = columns.map(([title, name]) => el('th', { scope: 'col', class: name || null }, title));
  const body = rows.map(({ cells, kind: of }) => el('tr', { class: of || null }, ...cells.map((cell, k) => {
    const attributes = { class: columns[k][1] || null, 'data-label': columns[k][0] };
    return k ? el('td', attributes, cell) : el('th', { ...attributes, scope: 'row' }, cell);
  })));
  return el('div', { class: 'scroll', role: 'region', 'aria-label': label, tabindex: 0 },
    el('table', { class: kind || null }, el('thead', {}, el('tr', {}, ...head)), el('tbody', {}, ...body)));
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? '' : visible(value));
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) made.append(child instanceof Node ? child : visible(child));
  }
  return made;
}
