// Where the reader is: everything that makes a view what it is stands behind the `#`, so that a link gives it again.
// The part behind the `#` is never sent to a server, and the key is never in it.

const VIEWS = new Set(['models', 'ask', 'family', 'failures', 'index']);

/** The view and its parameters. What is unknown leads to the first view. */
export function here() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?', 2);
  return { view: VIEWS.has(path) ? path : 'models', params: new URLSearchParams(query ?? '') };
}

/** The link to a view; parameters without a value are left out. */
export function link(view, params = {}) {
  const known = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== '');
  const query = new URLSearchParams(known).toString();
  return `#/${view}${query ? `?${query}` : ''}`;
}

/** Go to a view, as a new entry of the history. */
export function go(view, params) {
  const target = link(view, params);
  if (location.hash === target) dispatchEvent(new HashChangeEvent('hashchange'));
  else location.hash = target;
}

/** Add parameters to the current view without a new entry of the history and without drawing it again. */
export function note(changed) {
  const { view, params } = here();
  history.replaceState(null, '', link(view, { ...Object.fromEntries(params), ...changed }));
}
