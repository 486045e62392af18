/** The octets of a message as its author wrote them: without the dots that SMTP puts before dots (RFC 5321 section 4.5.2). */
import type { Writable } from 'node:stream';

const [LF, DOT] = [10, 46];
const STUFFED = Buffer.from('\n.');

/** One piece for each; a copy only where a dot is left out. Each is there until the next is asked for. */
export function* unstuffed(pieces: Iterable<Buffer>): Generator<Buffer, void, void> {
  // A bare LF is refused, so that a LF always ends a line.
  let isAtLineStart = true;
  for (const piece of pieces) {
    if (piece.length === 0) continue;
    const from = isAtLineStart && piece[0] === DOT ? 1 : 0;
    isAtLineStart = piece[piece.length - 1] === LF;
    const first = piece.indexOf(STUFFED, from);
    yield first < 0 ? piece.subarray(from) : without(piece, from, first);
  }
}

/** From `from` on, without the dot behind each line end; `first` is where the first such pair is. */
function without(piece: Buffer, from: number, first: number): Buffer {
  const out = Buffer.allocUnsafe(piece.length - from - 1);
  let length = 0;
  let begin = from;
  for (let at = first; at >= 0; at = piece.indexOf(STUFFED, begin)) {
    length += piece.copy(out, length, begin, at + 1);
    begin = at + STUFFED.length;
  }
  length += piece.copy(out, length, begin);
  return out.subarray(0, length);
}

/** Resolves when the kernel has it, so that the next piece may be asked for; rejects when the stream has ended. */
export function written(to: Writable, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => void to.write(bytes, (error) => (error ? reject(error) : resolve())));
}
