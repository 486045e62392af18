/** The generic test for unsolicited bulk email: a line that every spam filter knows, so that anybody can test the way. */
import type { Filter, MakeFilter, Seen } from './filter.ts';

// In two parts, so that this file may be mailed.
const GTUBE = Buffer.from(['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'].join(''));
/** Whoever tests sends little; all of a large message would be read for nothing. */
const MOST_BYTES = 1024 * 1024;

export const gtube = (({ filters: { gtube: config } }): Filter<'body'> => ({
  name: 'gtube',
  stage: 'body',
  look({ message }) {
    return contains(message.raw(), Math.min(message.sizeBytes, MOST_BYTES), GTUBE) ? FOUND : NOTHING;
  },
  actionOf: () => config.finding,
  failure: config.failure,
})) satisfies MakeFilter;

const NOTHING: readonly Seen[] = [];
const FOUND: readonly Seen[] = [
  { filter: 'gtube', name: 'GTUBE', score: 1, evidence: 'the test string', class: 'spam.gtube' },
];

/** Whether the pieces that have the first `bytes` of them, joined, hold the needle; only the seams are copied. */
function contains(pieces: Iterable<Buffer>, bytes: number, needle: Buffer): boolean {
  const seamBytes = needle.length - 1;
  let tail: Buffer | undefined;
  let leftBytes = bytes;
  for (const piece of pieces) {
    leftBytes -= piece.length;
    if (piece.includes(needle)) return true;
    const seam: Buffer = tail ? Buffer.concat([tail, piece.subarray(0, seamBytes)]) : piece;
    if (seam !== piece && seam.includes(needle)) return true;
    if (leftBytes <= 0) return false;
    // A copy: the piece is there only until the next.
    tail = Buffer.from((piece.length >= seamBytes ? piece : seam).subarray(-seamBytes));
  }
  return false;
}
