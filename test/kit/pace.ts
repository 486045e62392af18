/**
 * Promises in milliseconds of processor time, on whatever machine: a piece of work of known cost, done beside, tells how
 * fast it is just then. Where programs share a core, the same work costs more of that time, too.
 */

/** What the piece of work takes where the promises were measured, with nothing else to do. */
const REFERENCE_MS = 15;
/** A test looks for what takes many times as long as it may. */
const ROOM = 3;

/** Is what took `tookMs` of processor time within the promise of `promisedMs`, as this machine is just then? */
export function within(tookMs: number, promisedMs: number): boolean {
  if (tookMs < promisedMs) return true;
  const slowest = Math.max(...Array.from({ length: 3 }, referenceMs));
  return tookMs < promisedMs * ROOM * Math.max(1, slowest / REFERENCE_MS);
}

let kept = 0;

function referenceMs(): number {
  const before = process.threadCpuUsage();
  const words = new Map<string, number>();
  for (let i = 0; i < 50_000; i++) {
    const word = `w${(i * 7919) % 10_007}`;
    words.set(word, (words.get(word) ?? 0) + (/[13]5$/.test(word) ? 2 : 1));
  }
  kept += words.size;
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}
