// Requests to `/v1`. Everything that is not an answer becomes a `Problem` that says what is wrong and the way out.

import { key } from './key.js';

const TRIES = 4;
const LONGEST_PAUSE = 10;

/** What the service refused, or why it could not be reached. */
export class Problem extends Error {
  constructor(told) {
    super(told.detail);
    this.name = 'Problem';
    this.title = told.title;
    this.detail = told.detail;
    this.status = told.status;
    this.request = told.request_id ?? '';
    /** Stable name of what is wrong. */
    this.kind = (told.type ?? '').split(':').pop();
  }
}

/** What a GET route says. params without a value are left out. Throws Problem. */
export async function get(path, params = {}, signal) {
  const url = new URL(`v1/${path}`, document.baseURI);
  url.hash = '';
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== '') url.searchParams.set(name, value);
  }
  return (await send(url, { signal })).body;
}

/** The path of a model's routes: slashes are part of its name. */
export const modelPath = name => `models/${name.split('/').map(encodeURIComponent).join('/')}`;

/**
 * The answer to a question. A model that is not indexed is fingerprinted first: `onJob` is told of each state until the
 * outcome is there. job: id of a question that was asked before; one that is no longer known is asked again.
 */
export async function ask(question, { job, onJob, signal }) {
  let found = null;
  if (job) {
    try {
      found = await outcome(job, signal);
    } catch (problem) {
      if (problem.kind !== 'unknown-job') throw problem;
    }
  }
  found ??= await send(new URL('v1/ancestry', document.baseURI), {
    method: 'POST',
    body: JSON.stringify(question),
    headers: { 'Content-Type': 'application/json' },
    signal,
  });
  while (found.status === 202) {
    onJob(found.body);
    await pause(found.body.poll_after_seconds, signal);
    found = await outcome(found.body.id, signal);
  }
  return found.body;
}

const outcome = (id, signal) =>
  send(new URL(`v1/ancestry/${encodeURIComponent(id)}`, document.baseURI), { headers: { Prefer: 'wait=5' }, signal });

async function send(url, { method = 'GET', body, headers = {}, signal }) {
  const secret = key();
  const sent = secret ? { ...headers, Authorization: `Bearer ${secret}` } : headers;
  for (let tried = 1; ; tried++) {
    const response = await reach(url, { method, body, headers: sent, signal, cache: 'no-store', credentials: 'omit' });
    if (response.ok) return { status: response.status, body: await response.json() };
    const wait = Number(response.headers.get('Retry-After') ?? NaN);
    const busy = response.status === 429 || response.status === 503;
    if (!busy || tried === TRIES || !(wait <= LONGEST_PAUSE)) throw await problemOf(response);
    await pause(wait, signal);
  }
}

async function reach(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem({
      title: 'The service does not answer',
      detail: 'Nothing came back from it. Is it running, and is this machine connected to it? Then try again.',
      status: 0,
    });
  }
}

async function problemOf(response) {
  const told = await response.json().catch(() => null);
  if (told?.detail) return new Problem(told);
  return new Problem({
    title: 'The service failed',
    detail: `It answered ${response.status} without saying why. Try again; if it stays so, its log will say more.`,
    status: response.status,
  });
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => { clearTimeout(timer); reject(signal.reason); };
    const timer = setTimeout(() => { signal?.removeEventListener('abort', stop); resolve(); }, 1000 * seconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
