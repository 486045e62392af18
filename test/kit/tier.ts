/** Two tiers of the same tests: `npm test` with reduced counts, `npm run test:long` with the full numbers. */
export const isLong = process.env['POSTERN_LONG'] === '1';

/** A count for this tier; no case may be left out by it, only repetitions. */
export function count(short: number, long: number): number {
  return isLong ? long : short;
}

/** For `{ skip: needsRoot }`: tests that make namespaces say "skipped" without root, never "passed". */
export const needsRoot: string | false = process.getuid?.() === 0 ? false : 'needs root';

/** The seed of this run, printed with every failure of a generated case. */
export const seed = Number(process.env['POSTERN_SEED'] ?? Date.now() % 2 ** 31);
