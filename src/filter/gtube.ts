/** The generic test for unsolicited bulk email: a line that every spam filter knows, so that anybody can test the way. */
import type { Filter, Seen } from './filter.ts';

// In two parts, so that this file may be mailed.
const GTUBE = Buffer.from(['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'].join(''));

export const gtube: Filter = {
  name: 'gtube',
  look(message) {
    return contains(message.raw(), GTUBE) ? [FOUND] : [];
  },
  actionOf: (_class, filters) => filters.gtube.finding,
  failure: (filters) => filters.gtube.failure,
};

const FOUND: Seen = { filter: 'gtube', name: 'GTUBE', score: 1, evidence: 'the test string', class: 'spam.gtube' };

/** Whether the pieces, joined, hold the needle; only the seams are copied. */
function contains(pieces: Iterable<Buffer>, needle: Buffer): boolean {
  let tail: Buffer = Buffer.alloc(0);
  for (const piece of pieces) {
    if (piece.includes(needle)) return true;
    const seam = Buffer.concat([tail, piece.subarray(0, needle.length - 1)]);
    if (seam.includes(needle)) return true;
    tail = Buffer.from((piece.length >= needle.length - 1 ? piece : seam).subarray(-(needle.length - 1)));
  }
  return false;
}
