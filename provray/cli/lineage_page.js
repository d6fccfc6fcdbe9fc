// Folding, searching and showing evidence on the lineage page. Names reach the page as text only, never as markup.
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const cards = new Map([...document.querySelectorAll('.card')].map(c => [Number(c.dataset.model), c]));
const sheet = document.getElementById('sheet');
const idle = sheet.firstElementChild;
const parents = new Map(), children = new Map();
for (const link of data.links) {
  for (const [map, key] of [[parents, link.c], [children, link.p]]) {
    if (!map.has(key)) map.set(key, []);
    map.get(key).push(link);
  }
}
let chosen = null;

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

// --- folding
const listOf = toggle => toggle.closest('li').querySelector(':scope > ul');
function setFold(toggle, open) {
  toggle.setAttribute('aria-expanded', String(open));
  listOf(toggle).hidden = !open;
}
function reveal(item) {
  for (let at = item; at; at = at.parentElement) {
    if (at.tagName === 'DETAILS') at.open = true;
    if (at.tagName === 'UL' && at.hidden) setFold(at.parentElement.querySelector('.toggle'), true);
  }
}
const shown = card => card.offsetParent !== null;

// --- a merged model's further parents: lines across the tree
function drawAcross() {
  for (const canvas of document.querySelectorAll('.canvas')) {
    canvas.querySelector(':scope > svg')?.remove();
    if (!canvas.offsetParent) continue;
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('aria-hidden', 'true');
    const box = canvas.getBoundingClientRect();
    for (const card of canvas.querySelectorAll('.card')) {
      const child = Number(card.dataset.model);
      const list = card.closest('ul');
      const holder = list.classList.contains('grid-kids') ? list.parentElement.closest('ul') : list;
      const hung = holder.parentElement.querySelector(':scope > .row > .card');
      for (const link of parents.get(child) ?? []) {
        const other = cards.get(link.p);
        if (!other || other === hung || !shown(card) || !shown(other)) continue;
        const a = other.getBoundingClientRect(), b = card.getBoundingClientRect();
        const x1 = a.right - box.left, y1 = a.top + a.height / 2 - box.top;
        const x2 = b.left - box.left, y2 = b.top + b.height / 2 - box.top;
        const bend = Math.max(24, Math.min(80, Math.abs(x2 - x1) / 2));
        const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
        path.setAttribute('class', chosen === child || chosen === link.p ? 'across lit' : 'across');
        path.setAttribute('d', `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`);
        svg.append(path);
      }
    }
    if (svg.firstChild) canvas.prepend(svg);
  }
}
let waiting = 0;
function redraw() {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(drawAcross);
}

// --- evidence
function jump(model) {
  const made = element('button', data.models[model], 'jump');
  made.type = 'button';
  made.addEventListener('click', () => {
    const card = cards.get(model);
    if (!card) return;
    reveal(card);
    card.focus();
    card.scrollIntoView({ block: 'center', inline: 'center' });
    redraw();
  });
  return made;
}
function evidence(link) {
  const part = document.createElement('div');
  const head = element('h3', link.known ? 'Made from ' : 'Kin of ');
  head.append(jump(link.p));
  const said = [link.relation || 'unknown relation'];
  if (link.score !== null) said.push(`score ${link.score.toFixed(2).replace('-', '−')}`);
  if (!link.known) said.push('which of the two came first is not known');
  part.append(head, element('p', said.join('; '), 'quiet'));
  if (link.reasons.length) {
    const list = element('ul');
    list.append(...link.reasons.map(reason => element('li', reason)));
    part.append(list);
  }
  return part;
}
function choose(model) {
  if (chosen === model) return;
  clear();
  chosen = model;
  const above = parents.get(model) ?? [], below = children.get(model) ?? [];
  cards.get(model).classList.add('chosen');
  cards.get(model).setAttribute('aria-pressed', 'true');
  for (const link of above) cards.get(link.p)?.classList.add('kin');
  const close = element('button', '×', 'close');
  close.type = 'button';
  close.setAttribute('aria-label', 'Close');
  close.addEventListener('click', clear);
  sheet.replaceChildren(close, element('h2', data.models[model]), ...above.map(evidence));
  if (!above.length) sheet.append(element('p', 'No parent of it was found here.'));
  const kinds = new Map();
  for (const link of below) {
    const kind = link.relation || 'unknown relation';
    kinds.set(kind, [...(kinds.get(kind) ?? []), link.c]);
  }
  if (below.length) sheet.append(element('h3', below.length === 1 ? '1 child' : `${below.length} children`));
  for (const [kind, made] of [...kinds].sort((a, b) => b[1].length - a[1].length)) {
    sheet.append(element('p', `${made.length} × ${kind}`, 'quiet'));
    const list = element('ul');
    for (const child of made.slice(0, 8)) {
      const item = element('li');
      item.append(jump(child));
      list.append(item);
    }
    if (made.length > 8) list.append(element('li', `and ${made.length - 8} more`, 'quiet'));
    sheet.append(list);
  }
  sheet.classList.remove('idle');
  sheet.scrollTop = 0;
  redraw();
}
function clear() {
  for (const card of document.querySelectorAll('.chosen, .kin')) card.classList.remove('chosen', 'kin');
  if (chosen !== null) cards.get(chosen).removeAttribute('aria-pressed');
  chosen = null;
  sheet.replaceChildren(idle);
  sheet.classList.add('idle');
  redraw();
}

// --- searching
const search = document.getElementById('search'), matches = document.getElementById('matches');
let hits = [], place = -1;
function find() {
  const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const fits = model => words.every(word => data.models[model].toLowerCase().includes(word));
  hits = [];
  place = -1;
  const kept = new Set();
  for (const [model, card] of cards) {
    const hit = words.length > 0 && fits(model);
    card.classList.toggle('found', hit);
    if (!hit) continue;
    hits.push(card);
    for (let at = card.closest('li'); at && !kept.has(at); at = at.parentElement.closest('li')) kept.add(at);
  }
  for (const item of document.querySelectorAll('.tree li')) item.hidden = words.length > 0 && !kept.has(item);
  for (const toggle of document.querySelectorAll('.toggle')) {
    if (words.length && listOf(toggle).querySelector('.found')) setFold(toggle, true);
  }
  for (const tree of document.querySelectorAll('.tree')) tree.hidden = words.length > 0 && !tree.querySelector('.found');
  let alone = 0;
  for (const item of document.querySelectorAll('[data-single]')) {
    const hit = words.length > 0 && fits(Number(item.dataset.single));
    alone += hit;
    item.classList.toggle('found', hit);
    item.hidden = words.length > 0 && !hit;
  }
  for (const family of document.querySelectorAll('.family')) {
    const any = family.querySelector('.found') !== null;
    family.hidden = words.length > 0 && !any;
    if (any) family.open = true;
  }
  const count = hits.length + alone;
  matches.textContent = !words.length ? '' : count === 1 ? '1 model' : `${count} models`;
  redraw();
}
let typed = 0;
search.addEventListener('input', () => {
  clearTimeout(typed);
  typed = setTimeout(find, 120);
});
search.addEventListener('keydown', event => {
  if (event.key === 'Escape') {
    search.value = '';
    find();
  }
  if (event.key !== 'Enter') return;
  clearTimeout(typed);
  if (place < 0) find();
  if (!hits.length) return;
  place = (place + (event.shiftKey ? hits.length - 1 : 1)) % hits.length;
  choose(Number(hits[place].dataset.model));
  hits[place].scrollIntoView({ block: 'center', inline: 'center' });
});

// --- keys and clicks
function step(card, key) {
  const item = card.closest('li'), model = Number(card.dataset.model);
  if (key === 'ArrowLeft') return cards.get((parents.get(model) ?? [])[0]?.p);
  if (key === 'ArrowRight') {
    const list = item.querySelector(':scope > ul');
    if (!list) return undefined;
    reveal(list.firstElementChild);
    redraw();
    return [...list.querySelectorAll('.card')].find(shown);
  }
  const all = [...cards.values()].filter(shown);
  all.sort((a, b) => a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1);
  return all[all.indexOf(card) + (key === 'ArrowDown' ? 1 : -1)];
}
document.addEventListener('click', event => {
  const toggle = event.target.closest('.toggle'), card = event.target.closest('.card');
  if (toggle) {
    setFold(toggle, listOf(toggle).hidden);
    redraw();
  }
  if (card) choose(Number(card.dataset.model));
});
document.addEventListener('focusin', event => {
  if (event.target.matches('.card:focus-visible')) choose(Number(event.target.dataset.model));
});
document.addEventListener('keydown', event => {
  if (event.key === 'Escape' && chosen !== null) clear();
  if (!event.key.startsWith('Arrow') || !event.target.matches('.card')) return;
  const next = step(event.target, event.key);
  if (!next) return;
  event.preventDefault();
  reveal(next);
  next.focus();
});
for (const [id, open] of [['unfold', true], ['fold', false]]) {
  document.getElementById(id).addEventListener('click', () => {
    for (const family of document.querySelectorAll('.family')) family.open = open;
    for (const toggle of document.querySelectorAll('.toggle')) setFold(toggle, open);
    redraw();
  });
}
for (const family of document.querySelectorAll('.family')) family.addEventListener('toggle', redraw);
addEventListener('resize', redraw);
redraw();
