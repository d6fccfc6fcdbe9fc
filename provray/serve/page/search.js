// The question: a name to look for while typing, or a place to read a model from, typed, pasted or dropped.

import { get } from './api.js';
import { el, modelName } from './elements.js';
import { go } from './route.js';
import { several } from './words.js';

const PAUSE = 150, LISTED = 8;

/** Whether a text names a place to read from, and not an indexed model. */
export const isReference = text => text.includes('://') || /^[/.]/.test(text);

/** Make the form work. Returns a function that puts a text into it. */
export function searchForm() {
  const form = document.getElementById('ask'), input = document.getElementById('model');
  const list = document.getElementById('found'), hint = document.getElementById('hint');
  let options = [], active = -1, waiting = 0, asked = null;

  function close() {
    clearTimeout(waiting);
    asked?.abort();
    list.hidden = true;
    options = [];
    activate(-1);
    input.setAttribute('aria-expanded', 'false');
  }
  function activate(place) {
    active = place;
    [...list.children].forEach((item, k) => item.setAttribute('aria-selected', String(k === place)));
    if (place < 0) input.removeAttribute('aria-activedescendant');
    else {
      input.setAttribute('aria-activedescendant', list.children[place].id);
      list.children[place].scrollIntoView({ block: 'nearest' });
    }
  }
  function open(found, total) {
    options = found.map(one => one.model);
    list.replaceChildren(...found.map((one, k) => el('li', { role: 'option', id: `found-${k}`, 'aria-selected': 'false',
      onmousedown: event => { event.preventDefault(); choose(one.model); } },
    modelName(one.model), el('span', { class: 'quiet' }, [one.status === 'ok' ? '' : one.status, one.architecture || one.model_type].filter(Boolean).join(' · ')))));
    list.hidden = !found.length;
    input.setAttribute('aria-expanded', String(found.length > 0));
    activate(-1);
    hint.textContent = total > found.length ? `${several(total, 'model')} found; Enter lists them.` : found.length ? '' : 'No indexed model has these words. Enter asks by this very name.';
  }
  function choose(model) {
    input.value = model;
    hint.textContent = '';
    close();
    go('ask', { model });
  }
  async function look() {
    const text = input.value.trim();
    asked?.abort();
    if (!text) { hint.textContent = ''; return close(); }
    if (isReference(text)) {
      close();
      hint.textContent = 'A place to read from: Enter has it read, fingerprinted and judged.';
      return;
    }
    asked = new AbortController();
    try {
      const page = await get('models', { q: text, limit: LISTED }, asked.signal);
      if (input.value.trim() === text && document.activeElement === input) open(page.models, page.total);
    } catch (problem) {
      if (problem.name === 'Problem') { close(); hint.textContent = `${problem.title}.`; }
      else if (problem.name !== 'AbortError') throw problem;
    }
  }
  async function submit() {
    const text = input.value.trim();
    if (active >= 0) return choose(options[active]);
    if (!text) return input.focus();
    if (isReference(text)) return choose(text);
    const known = await get('models', { q: text, limit: LISTED }).catch(() => null);
    const exact = known?.models.some(one => one.model === text);
    if (exact || !known?.total) return choose(text);
    if (known.total === 1) return choose(known.models[0].model);
    close();
    hint.textContent = '';
    return go('models', { q: text });
  }

  input.addEventListener('input', () => { clearTimeout(waiting); waiting = setTimeout(look, PAUSE); });
  input.addEventListener('blur', close);
  input.addEventListener('keydown', event => {
    if (event.key === 'Escape') return close();
    if (!options.length || !['ArrowDown', 'ArrowUp'].includes(event.key)) return;
    event.preventDefault();
    const step = event.key === 'ArrowDown' ? 1 : -1;
    activate((active + step + (active < 0 && step < 0 ? 1 : 0) + options.length) % options.length);
  });
  form.addEventListener('submit', event => { event.preventDefault(); submit(); });
  dropping(text => { input.value = text; choose(text); }, words => { hint.textContent = words; });
  return text => { input.value = text; hint.textContent = ''; };
}

/** A reference may be dropped anywhere on the page. A browser does not tell where a dropped file lies. */
function dropping(take, explain) {
  const marked = on => document.body.classList.toggle('dropping', on);
  addEventListener('dragover', event => { event.preventDefault(); marked(true); });
  addEventListener('dragleave', event => { if (!event.relatedTarget) marked(false); });
  addEventListener('drop', event => {
    event.preventDefault();
    marked(false);
    const dropped = event.dataTransfer.getData('text/uri-list') || event.dataTransfer.getData('text/plain');
    const text = dropped.split('\n').map(line => line.trim()).find(line => line && !line.startsWith('#'));
    if (text) take(text);
    else explain('A browser does not tell where a dropped folder lies: paste its path.');
  });
}
