/**
 * Everything the page is made of, in memory: our own files and those of the libraries, each by the path it is served
 * under. The browser asks nobody else, and runs nothing that is not in here.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

export type Asset = { readonly type: string; readonly body: Buffer; readonly tag: string };

export type Assets = {
  readonly files: ReadonlyMap<string, Asset>;
  /** the page itself */
  readonly page: Buffer;
  /** the Content-Security-Policy of every answer */
  readonly policy: string;
};

const JAVASCRIPT = 'text/javascript; charset=utf-8';
const CSS = 'text/css; charset=utf-8';
const OURS = new URL('./page/', import.meta.url);

/** What the page imports by name; the browser's file stands beside the one that Node would take. */
const LIBRARIES: readonly (readonly [name: string, resolved: string, file: string])[] = [
  ['preact', import.meta.resolve('preact'), 'preact.mjs'],
  ['preact/hooks', import.meta.resolve('preact/hooks'), 'hooks.mjs'],
  ['htm', import.meta.resolve('htm'), 'htm.module.js'],
  ['htm/preact', import.meta.resolve('htm/preact'), 'index.module.js'],
  ['uplot', import.meta.resolve('uplot'), 'uPlot.esm.js'],
];

export async function loadAssets(): Promise<Assets> {
  const files = new Map<string, Asset>();
  const add = (path: string, type: string, text: string | Buffer): void => {
    const body = Buffer.from(text);
    files.set(path, { type, body, tag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"` });
  };
  const imports: Record<string, string> = {};
  for (const [name, resolved, file] of LIBRARIES) {
    const path = `/assets/${file}`;
    imports[name] = path;
    add(path, JAVASCRIPT, readFileSync(new URL(file, resolved)));
  }
  add('/assets/uPlot.css', CSS, readFileSync(new URL('uPlot.min.css', import.meta.resolve('uplot'))));
  const names = readdirSync(OURS).filter((name) => name.endsWith('.ts'));
  const stripped = await strip(names.map((name) => fileURLToPath(new URL(name, OURS))));
  for (const [i, name] of names.entries()) add(`/assets/${name}`, JAVASCRIPT, stripped[i] as string);
  add('/assets/style.css', CSS, readFileSync(new URL('style.css', OURS)));

  const map = JSON.stringify({ imports });
  const page = readFileSync(new URL('index.html', OURS), 'utf8').replace('IMPORT_MAP', () => map);
  const hash = createHash('sha256').update(map).digest('base64');
  return {
    files,
    page: Buffer.from(page),
    policy: `default-src 'none'; script-src 'self' 'sha256-${hash}'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  };
}

function strip(paths: readonly string[]): Promise<readonly string[]> {
  // Node says each time that this is an experiment; its version is pinned.
  const thread = new Worker(new URL('./strip.thread.ts', import.meta.url), { workerData: paths, stderr: true });
  return new Promise((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', () => reject(new Error('the thread that takes the types out of the page has ended')));
  });
}
