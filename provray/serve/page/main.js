// Which view is shown: the part of the address behind the `#` decides, so links, reload, back and forward work.

import { askView } from './ask-view.js';
import { el } from './elements.js';
import { familyView } from './family-view.js';
import { indexView } from './index-view.js';
import { keyDialog } from './key.js';
import { failuresView, modelsView } from './models-view.js';
import { problemPanel } from './problem.js';
import { here } from './route.js';
import { searchForm } from './search.js';

const VIEWS = { models: modelsView, ask: askView, family: familyView, failures: failuresView, index: indexView };
const TITLES = { models: 'Models', ask: 'Ancestry', family: 'Family', failures: 'Failures', index: 'Index' };
const place = document.getElementById('view');
const said = document.getElementById('said');
const fill = searchForm();
let current = new AbortController();

async function draw(moved) {
  current.abort();
  const { signal } = current = new AbortController();
  const { view, params } = here();
  const isHome = view === 'models' && !params.get('q') && !params.get('cursor');
  document.body.classList.toggle('home', isHome);
  document.title = `${TITLES[view]} – provray`;
  for (const one of document.querySelectorAll('nav [data-view]')) {
    if (one.dataset.view === view) one.setAttribute('aria-current', 'page');
    else one.removeAttribute('aria-current');
  }
  fill(params.get('model') ?? params.get('q') ?? '');
  said.textContent = '';
  const show = shown => {
    if (signal.aborted) return;
    place.replaceChildren(shown);
    // Whoever reads with a screen reader or the keyboard starts where the new view starts.
    if (moved) (place.querySelector('[tabindex="-1"]') ?? place).focus({ preventScroll: true });
  };
  if (moved) scrollTo(0, 0);
  place.setAttribute('aria-busy', 'true');
  try {
    if (!place.hasChildNodes()) show(el('p', { class: 'quiet', role: 'status' }, 'Loading …'));
    await VIEWS[view]({ params, signal, show, say: text => { said.textContent = text; } });
  } catch (problem) {
    if (signal.aborted) return;
    if (problem.name !== 'Problem') throw problem;
    show(problemPanel(problem, () => draw(true)));
  } finally {
    if (!signal.aborted) place.setAttribute('aria-busy', 'false');
  }
}

document.querySelector('.skip').addEventListener('click', event => {
  event.preventDefault();
  place.focus();
});
addEventListener('hashchange', () => draw(true));
keyDialog(() => draw(true));
draw(false);
