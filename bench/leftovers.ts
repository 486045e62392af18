/** What a run has made outside its namespaces is gone when the process ends, however it ends. */
import { mkdtempSync, rmSync } from 'node:fs';

const undo = new Set<() => void>();

process.once('exit', () => {
  for (const one of undo) one();
});
// Then the namespaces' own handlers run as well.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

/** Runs once, at the latest when the process ends. Returns what runs it now. */
export function atLast(what: () => void): () => void {
  const once = (): void => {
    if (undo.delete(once)) what();
  };
  undo.add(once);
  return once;
}

/** A new directory; the second function removes it with all that is in it. */
export function temporaryDirectory(prefix: string): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(prefix);
  return { path, remove: atLast(() => rmSync(path, { recursive: true, force: true })) };
}
