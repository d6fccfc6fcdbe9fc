// The key of the reader: kept for this tab alone, until it is closed, and sent in a header. It is never part of a link.

const NAME = 'provray-key';
let held = null;  // where the browser keeps nothing, for as long as the page is open

/** The key, or null. */
export function key() {
  try { return sessionStorage.getItem(NAME) ?? held; } catch { return held; }
}

function keep(secret) {
  held = secret || null;
  try {
    if (secret) sessionStorage.setItem(NAME, secret);
    else sessionStorage.removeItem(NAME);
  } catch { /* then it is held until the page is left */ }
}

/** Open the dialog in which a key is entered. */
export function enterKey() {
  const dialog = document.getElementById('key-dialog');
  dialog.querySelector('input').value = '';
  document.getElementById('forget').hidden = !key();
  dialog.showModal();
}

/** Make the button and the dialog work; `changed` is called when another key is to be used. */
export function keyDialog(changed) {
  const dialog = document.getElementById('key-dialog');
  const opener = document.getElementById('key');
  const say = () => { opener.lastElementChild.textContent = key() ? 'Key set' : 'Key'; opener.classList.toggle('set', Boolean(key())); };
  const take = secret => {
    keep(secret);
    dialog.close();
    say();
    changed();
  };
  opener.addEventListener('click', enterKey);
  document.getElementById('forget').addEventListener('click', () => take(''));
  document.getElementById('cancel').addEventListener('click', () => dialog.close());
  dialog.querySelector('form').addEventListener('submit', event => {
    event.preventDefault();
    const secret = dialog.querySelector('input').value.trim();
    if (secret) take(secret);
  });
  say();
}
