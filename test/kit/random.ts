/** Random choices that a seed repeats. */
export type Random = {
  /** from 0 up to 1 */
  readonly next: () => number;
  /** true once in `n` times */
  readonly oneIn: (n: number) => boolean;
  /** a whole number from 0 up to `n` */
  readonly below: (n: number) => number;
  readonly pick: <T>(of: readonly T[]) => T;
};

/** Mulberry32: small and good enough for tests. */
export function randomFrom(seed: number): Random {
  let state = seed | 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number): number => Math.floor(next() * n);
  return { next, below, oneIn: (n) => below(n) === 0, pick: (of) => of[below(of.length)] as (typeof of)[number] };
}
