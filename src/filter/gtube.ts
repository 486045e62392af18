/** The generic test for unsolicited bulk email: a line that every spam filter knows, so that anybody can test the way. */
import type { Call } from './call.ts';
import type { Filter, MakeFilter, Seen } from './filter.ts';
import type { Message } from './message.ts';
import { inTurns } from './octets.ts';

// In two parts, so that this file may be mailed.
const GTUBE = Buffer.from(['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'].join(''));

/** Searched at once; in a longer message the loop goes round in between. */
const QUICK_BYTES = 1024 * 1024;

export const gtube = (({ filters: { gtube: config } }): Filter<'body'> => ({
  name: 'gtube',
  stage: 'body',
  look: ({ message }, call) => (message.sizeBytes > QUICK_BYTES ? lookInTurns(message, call) : lookAtOnce(message)),
  actionOf: () => config.finding,
  failure: config.failure,
})) satisfies MakeFilter;

const NOTHING: readonly Seen[] = [];
const FOUND: readonly Seen[] = [
  { filter: 'gtube', name: 'GTUBE', score: 1, evidence: 'the test string', class: 'spam.gtube' },
];

function lookAtOnce(message: Message): readonly Seen[] {
  const search = new Search(message.sizeBytes);
  for (const piece of message.raw()) if (search.isIn(piece)) return FOUND;
  return NOTHING;
}

async function lookInTurns(message: Message, { signal }: Call): Promise<readonly Seen[]> {
  const search = new Search(message.sizeBytes);
  for await (const piece of inTurns(message.raw(), signal)) if (search.isIn(piece)) return FOUND;
  return NOTHING;
}

/** In pieces, one after the other, as if they were one; only the seams are copied. */
class Search {
  /** of all pieces that have not come yet */
  #leftBytes: number;
  #tail: Buffer | undefined;

  constructor(bytes: number) {
    this.#leftBytes = bytes;
  }

  isIn(piece: Buffer): boolean {
    this.#leftBytes -= piece.length;
    if (piece.includes(GTUBE)) return true;
    const seamBytes = GTUBE.length - 1;
    const seam = this.#tail ? Buffer.concat([this.#tail, piece.subarray(0, seamBytes)]) : piece;
    if (seam !== piece && seam.includes(GTUBE)) return true;
    // A copy: the piece is there only until the next.
    if (this.#leftBytes > 0) this.#tail = Buffer.from((piece.length >= seamBytes ? piece : seam).subarray(-seamBytes));
    return false;
  }
}
