// Lists of models: all of them by name, and those that could not be fingerprinted.

import { get } from './api.js';
import { el, facts, modelName, table } from './elements.js';
import { link } from './route.js';
import { count, several, size, when } from './words.js';

const PAGE = 50;

/** The first view: what is in the index, by name. */
export async function modelsView({ params, signal, show }) {
  const q = params.get('q') ?? '';
  const [page, index] = await Promise.all([
    get('models', { q, cursor: params.get('cursor'), limit: PAGE }, signal),
    get('index', {}, signal),
  ]);
  const failed = Object.entries(index.statuses).reduce((sum, [status, many]) => sum + (status === 'ok' ? 0 : many), 0);
  show(el('div', {},
    q ? null : facts([
      ['models that can be named as an ancestor', count(index.index.models)],
      ['could not be fingerprinted, or a part of them', el('a', { href: link('failures') }, count(failed))],
      ['wrong among the ancestors named, at most', `${+(100 * index.fdr).toPrecision(3)} %`],
      [`version of ${index.index.name}`, el('a', { href: link('index') }, String(index.index.version))],
    ], 'tally'),
    el('section', { 'aria-labelledby': 'models' },
      el('h2', { id: 'models', tabindex: -1 }, q ? `${several(page.total, 'model')} with “${q}”` : 'Models'),
      page.models.length ? modelTable(page.models) : empty(q),
      pager(page, 'models', { q }))));
}

const modelTable = models => table('Models',
  [['Model', 'name'], ['Architecture'], ['Parameters', 'amount'], ['Declared base'], ['Status'], ['Crawled', 'date']],
  models.map(one => ({ cells: [
    el('a', { href: link('ask', { model: one.model }) }, modelName(one.model)),
    one.architecture || one.model_type || '–',
    size(one.parameters),
    one.base_model.length ? modelName(one.base_model.join(', ')) : el('span', { class: 'quiet' }, 'none'),
    status(one.status),
    when(one.crawled),
  ] })), 'stacked');

const empty = q => q
  ? el('div', { class: 'empty' }, el('p', {}, 'No indexed model has all of these words in its name, architecture or declared base.'),
    el('p', {}, el('a', { href: link('models') }, 'See all models'), ', or ask about it where it can be read: ', el('code', {}, 'hf://…'), ', ', el('code', {}, 's3://…'), ', a folder.'))
  : el('p', { class: 'empty' }, 'The index is empty. ', el('code', {}, 'provray crawl'), ' fills it.');

/** Models without a whole fingerprint, with the reason of each. */
export async function failuresView({ params, signal, show }) {
  const wanted = params.get('status') || 'failed';
  const [page, index] = await Promise.all([
    get('models', { status: wanted, q: params.get('q'), cursor: params.get('cursor'), limit: PAGE }, signal),
    get('index', {}, signal),
  ]);
  const found = Object.entries(index.statuses).filter(([name]) => name !== 'ok');
  const all = found.reduce((sum, [, many]) => sum + many, 0);
  const filters = found.length ? [['failed', 'all', all], ...found.map(([name, many]) => [name, name, many])] : [];
  show(el('div', {},
    el('h1', { tabindex: -1 }, 'What could not be read'),
    el('p', { class: 'lede' }, 'A model is left out of answers, or judged by less, when its fingerprint failed. Here is each with its reason.'),
    filters.length ? el('nav', { class: 'filters', 'aria-label': 'By reason' }, ...filters.map(([name, title, many]) =>
      el('a', { class: 'filter', href: link('failures', { status: name === 'failed' ? '' : name }), 'aria-current': name === wanted && 'page' }, `${title} ${count(many)}`))) : null,
    page.models.length ? table('Failures', [['Model', 'name'], ['Status'], ['Reason', 'words'], ['Fingerprints'], ['Crawled', 'date']],
      page.models.map(one => ({ cells: [
        el('a', { href: link('ask', { model: one.model }) }, modelName(one.model)), status(one.status), one.reason || '–',
        one.kinds.join(', ') || 'none', when(one.crawled),
      ] })), 'stacked') : el('p', { class: 'empty' }, all ? 'Nothing failed for this reason.' : 'Nothing failed: every model of the index has its whole fingerprint.'),
    pager(page, 'failures', { status: params.get('status') })));
}

const status = name => el('span', { class: `status ${name === 'ok' ? 'ok' : 'failed'}` }, name);

/** A page is a link, so that the browser's own way back works. */
function pager(page, view, params) {
  if (!page.next && page.models.length === page.total) return null;
  return el('p', { class: 'pager' },
    el('span', { class: 'quiet' }, `${count(page.models.length)} of ${several(page.total, 'model')}`),
    page.next ? el('a', { class: 'button', href: link(view, { ...params, cursor: page.next }) }, 'Next') : null);
}
