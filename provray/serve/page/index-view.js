// What is served: version, counts, spaces, probe sets, and what the error rates in force rest on.

import { get } from './api.js';
import { el, facts, section, table } from './elements.js';
import { count } from './words.js';

/** The view of the index. */
export async function indexView({ params, signal, show }) {
  const told = await get('index', { as_of: params.get('as_of') }, signal);
  const { index } = told;
  const code = text => el('code', {}, text);
  show(el('div', {},
    el('p', { class: 'eyebrow' }, 'Index ', el('span', { class: 'model' }, index.name)),
    el('h1', { tabindex: -1 }, 'What is served'),
    facts([
      ['version', String(index.version)],
      ['models compared', count(index.models)],
      ...Object.entries(told.statuses).map(([status, many]) => [`models: ${status}`, count(many)]),
      ['false discovery rate in force', String(told.fdr)],
    ], 'tally'),
    section('rates', 'What the error rates rest on',
      el('p', {}, 'A score is held against what pairs of unrelated models score, separately for pairs of one architecture and of two.'),
      told.nulls.length ? table('Nulls', [['Score'], ['Pairs of'], ['Pairs', 'figure'], ['Families', 'figure'], ['Measured on']],
        told.nulls.map(one => ({ cells: [one.score, one.condition, count(one.pairs), count(one.families),
          one.origin === 'index' ? 'this index' : one.origin === 'shipped' ? 'the reference models of provray' : one.origin] })), 'stacked') : el('p', { class: 'empty' }, 'There is none yet.')),
    section('spaces', 'Spaces',
      el('p', {}, 'Fingerprints are compared within one space: the same settings, and the same probes.'),
      told.spaces.length ? table('Spaces', [['Kind'], ['Inputs'], ['Models', 'figure'], ['Questions are asked here'], ['Space', 'name'], ['Probes', 'name']],
        told.spaces.map(one => ({ cells: [one.kind, one.modality || 'any', count(one.models), one.asked ? 'yes' : 'no', code(one.space),
          one.probes ? code(one.probes.slice(0, 16)) : '–'] })), 'stacked') : el('p', { class: 'empty' }, 'No fingerprint is indexed yet.')),
    section('probes', 'Probe sets',
      told.probe_sets.length ? table('Probe sets', [['Name'], ['Inputs'], ['Comes with provray'], ['Digest', 'name']],
        told.probe_sets.map(one => ({ cells: [one.name, one.modality, one.default ? 'yes' : 'no: of a domain', code(one.digest.slice(0, 16))] })), 'stacked') : el('p', { class: 'empty' }, 'None is kept here.')),
    section('sources', 'Where models may be read from',
      told.sources.length ? el('ul', { class: 'notes' }, ...told.sources.map(one => el('li', {}, code(one))))
        : el('p', { class: 'empty' }, 'Nowhere: only indexed models and ready fingerprints are answered.')),
    section('software', 'Software', facts([['provray', told.provray], ['API', el('a', { href: 'openapi.json' }, 'openapi.json')]]))));
}
