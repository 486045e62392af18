/** What a run has made outside its namespaces is gone when the process ends, however it ends. */
import { mkdtempSync, rmSync } from 'node:fs';

const undo = new Set<() => void>();
let watching = false;

/** To be called when the first network is there: its own handler, which ends all processes, then runs before this one. */
export function watchEnd(): void {
  if (watching) return;
  watching = true;
  process.once('exit', () => {
    for (const one of undo) one();
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));
}

/** Runs once, at the latest when the process ends. Returns what runs it now. */
export function atLast(what: () => void): () => void {
  const once = (): void => {
    if (undo.delete(once)) what();
  };
  undo.add(once);
  return once;
}

/** A new directory; `remove` removes it with all that is in it. */
export function temporaryDirectory(prefix: string): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(prefix);
  return { path, remove: atLast(() => rmSync(path, { recursive: true, force: true, maxRetries: 5 })) };
}
