// Light or dark, as chosen here or else as the system says. A plain script, so that it runs before anything is drawn.
'use strict';
(() => {
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  let chosen = null;
  try { chosen = localStorage.getItem('provray-theme'); } catch { /* storage is switched off: the system decides */ }
  if (chosen === 'light' || chosen === 'dark') root.dataset.theme = chosen;
  const dark = () => (root.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark';
  const changed = () => dispatchEvent(new Event('themechange'));
  system.addEventListener('change', changed);
  addEventListener('DOMContentLoaded', () => {
    const button = document.getElementById('theme');
    const say = () => {
      button.setAttribute('aria-pressed', String(dark()));
      button.title = dark() ? 'Change to light colours' : 'Change to dark colours';
    };
    button.addEventListener('click', () => {
      root.dataset.theme = dark() ? 'light' : 'dark';
      try { localStorage.setItem('provray-theme', root.dataset.theme); } catch { /* then it holds for this visit */ }
      changed();
    });
    addEventListener('themechange', say);
    say();
  });
})();
