/** Medians and spread of a few samples. */

export type Spread = { readonly median: number; readonly least: number; readonly most: number };

/** NaN for no samples. */
export function spread(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const at = (i: number): number => sorted[i] ?? Number.NaN;
  return { median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2, least: at(0), most: at(sorted.length - 1) };
}

export function median(samples: readonly number[]): number {
  return spread(samples).median;
}
