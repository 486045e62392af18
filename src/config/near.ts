/** The known word that a slip of the finger or half a name most likely meant, or undefined when none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  if (word.length > 64) return undefined;
  const slips = Math.max(1, Math.floor(word.length / 3));
  const [best] = known
    .map((candidate) => ({ candidate, edits: edits(word.toLowerCase(), candidate) }))
    .sort((a, b) => a.edits - b.edits);
  if (best && best.edits <= slips) return best.candidate;
  return known.find((candidate) => word.length >= 3 && candidate.startsWith(word));
}

/** Letters inserted, left out, changed or exchanged with their neighbour between two words (optimal string alignment). */
function edits(a: string, b: string): number {
  let before: readonly number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const change = (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1);
      const areExchanged = i > 0 && j > 0 && a[i] === b[j - 1] && a[i - 1] === b[j];
      const exchange = areExchanged ? (before[j - 1] ?? 0) + 1 : change;
      next.push(Math.min(change, exchange, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}
