// A model's family: who it came from and what came from it, as a picture and as a list.

import { get, modelPath } from './api.js';
import { el, modelName, section, svg } from './elements.js';
import { familyList } from './family-list.js';
import { familyTree, OUTPUTS_ONLY } from './family-tree.js';
import { here, go, link, note } from './route.js';
import { count, several } from './words.js';

const WAYS = [['both', 'up and down'], ['up', 'who it came from'], ['down', 'what came from it']];
const DEPTHS = [['1', '1 step'], ['2', '2 steps'], ['3', '3 steps'], ['6', '6 steps'], ['100', 'all of it']];

/** The view of a family alone. Throws Problem. */
export async function familyView({ params, signal, show }) {
  const model = params.get('model') ?? '';
  const shown = el('article', { class: 'family-alone' },
    el('header', {}, el('p', { class: 'eyebrow' }, 'Family of'), el('h1', { tabindex: -1 }, modelName(model, 'plain')),
      el('p', {}, el('a', { href: link('ask', { model }) }, 'Which model is its ancestor?'))));
  const first = await lineageOf(model, params, params.get('as_of'), signal);
  show(shown);
  shown.append(family(model, first, params.get('as_of'), signal, true));
}

/** The family as a section of an answer. of: the suspect, where not it but its ancestor is indexed. */
export async function familySection(model, { params, asOf, signal, of }) {
  const found = await lineageOf(model, params, asOf, signal).catch(problem => {
    if (problem.name !== 'Problem') throw problem;
    return problem;
  });
  const words = of ? el('p', {}, 'The model asked about is not indexed. This is the family of ', modelName(model), ', which it belongs to.')
    : el('p', {}, 'Each line was inferred from the models themselves, not from what their cards say. ', el('a', { href: link('family', { model, as_of: asOf }) }, 'See it alone'));
  if (found instanceof Error) return section('family', 'Its family', el('p', { class: 'quiet' }, `${found.title}: ${found.detail}`));
  if (found.family === 1) return section('family', 'Its family', el('p', { class: 'empty' }, 'No relative of it is indexed.'));
  return section('family', of ? 'The family' : 'Its family', words, family(model, found, asOf, signal, false));
}

const lineageOf = (model, params, asOf, signal) => get(`${modelPath(model)}/lineage`, {
  direction: params.get('direction') ?? 'both', depth: params.get('depth') ?? 3, fdr: params.get('fdr'), as_of: asOf,
}, signal);

function family(model, first, asOf, signal, alone) {
  const canvas = el('div', { class: 'canvas', tabindex: 0, role: 'application', 'aria-label': `Family of ${model}, a graph. Arrow keys move, Enter opens, plus and minus zoom, 0 shows all of it. The list below says the same.` });
  const told = el('p', { class: 'told', role: 'status' });
  const drawnWords = el('p', { class: 'more' });
  const list = el('details', { class: 'as-list' }, el('summary', {}, 'The same as a list'));
  let graph = null;

  async function draw(lineage) {
    performance.mark('family: begins');
    const tree = familyTree(lineage);
    list.replaceChildren(list.firstElementChild, familyList(tree, model));
    const { drawFamily } = await import('./family-graph.js');
    if (signal.aborted) return;
    graph?.destroy();
    canvas.style.height = `${frameHeight(tree, alone)}px`;
    graph = drawFamily(canvas, {
      tree, focus: model,
      open: chosen => go(here().view === 'family' ? 'family' : 'ask', { model: chosen, as_of: asOf }),
      drawn: many => { drawnWords.textContent = extent(lineage, many); },
      say: words => { told.textContent = words; },
    });
    performance.measure('family', 'family: begins');
  }
  const change = async changed => {
    note(changed);
    told.textContent = 'Looking it up …';
    try {
      await draw(await lineageOf(model, here().params, asOf, signal));
      told.textContent = '';
    } catch (problem) {
      if (problem.name !== 'Problem') throw problem;
      told.textContent = `${problem.title}: ${problem.detail}`;
    }
  };
  const { params } = here();
  const choice = (id, label, values, chosen) => el('span', {}, el('label', { for: id }, label), ' ',
    el('select', { id, onchange: event => change({ [id]: event.target.value }) }, ...values.map(([value, title]) => el('option', { value, selected: value === chosen }, title))));
  const button = (text, label, onclick) => el('button', { type: 'button', 'aria-label': label, title: label, onclick }, text);
  signal.addEventListener('abort', () => graph?.destroy(), { once: true });
  const frame = el('div', { class: 'family' },
    el('div', { class: 'family-tools' },
      choice('direction', 'Show', WAYS, params.get('direction') ?? 'both'),
      choice('depth', 'as far as', DEPTHS, params.get('depth') ?? '3'),
      el('span', { class: 'zooms' }, button('−', 'Zoom out', () => graph?.zoom(0.8)), button('+', 'Zoom in', () => graph?.zoom(1.25)),
        button('Fit', 'Show all of it', () => graph?.whole()), button('Fold', 'Fold what was opened', () => graph?.foldAll()))),
    canvas, told, drawnWords, legend(familyTree(first), model), list);
  // A canvas has no size before it is part of the page.
  requestAnimationFrame(() => draw(first));
  return frame;
}

function frameHeight({ nodes }, alone) {
  const most = alone ? Math.max(420, innerHeight - 260) : 520;
  return Math.min(Math.max(nodes.size * 58 + 60, 200), most, Math.max(320, 0.7 * innerHeight));
}

function extent({ family: all, nodes, complete }, drawn) {
  const here = nodes.length < all ? `${count(nodes.length)} of the ${several(all, 'model')} of this family are within these steps` : `${several(all, 'model')}`;
  const folded = drawn < nodes.length ? `, ${count(drawn)} of them drawn as boxes: choose a fold to open it, or find a name in the list` : '';
  return `${here}${folded}.${complete || nodes.length < all ? '' : ' More of it may be there than was looked at.'}`;
}

/** Of the lines and boxes that are there. */
function legend({ nodes, edges }, focus) {
  const line = kind => svg('svg', { width: 30, height: 12, 'aria-hidden': 'true' }, svg('path', { class: `kin-line ${kind}`, d: 'M1 6H29' }));
  const box = kind => el('span', { class: `key-box ${kind}` });
  return el('ul', { class: 'legend' }, ...[
    [true, box('focus'), 'the model shown'],
    [[...nodes.values()].some(node => !node.link && node.model !== focus), box('root'), 'no parent here'],
    [edges.some(edge => edge.direction_known), line('down'), 'descends from'],
    [edges.some(edge => !edge.direction_known), line('unsure'), 'which came first is not known'],
    [[...nodes.values()].some(node => node.across.length), line('across'), 'a further parent'],
    [edges.some(edge => OUTPUTS_ONLY.test(edge.relation)), line('outputs'), 'from its outputs, no weights'],
  ].filter(([there]) => there).map(([, key, words]) => el('li', {}, key, words)));
}
