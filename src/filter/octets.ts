/** The octets of a message as its author wrote them: without the dots that SMTP puts before dots (RFC 5321 section 4.5.2). */
import type { Writable } from 'node:stream';
import type { Message } from './message.ts';

const [LF, DOT] = [10, 46];
const STUFFED = Buffer.from('\n.');
/** Copied between two turns of the loop. */
const TURN_BYTES = 1024 * 1024;
/** Looked at one by one behind a dot: where dots are near one another, a search for each costs more. */
const NEAR_BYTES = 256;

/** One piece for each; a copy only where a dot is left out. Each is there until the next is asked for. */
export function* unstuffed(pieces: Iterable<Buffer>): Generator<Buffer, void, void> {
  // A bare LF is refused, so that a LF always ends a line.
  let isAtLineStart = true;
  for (const piece of pieces) {
    if (piece.length === 0) continue;
    const from = isAtLineStart && piece[0] === DOT ? 1 : 0;
    isAtLineStart = piece[piece.length - 1] === LF;
    const first = piece.indexOf(STUFFED, from);
    yield first < 0 ? piece.subarray(from) : without(piece, from, first, Buffer.allocUnsafe(piece.length));
  }
}

/** The same for a whole message, in the memory where it lies. */
export function unstuff(bytes: Buffer): Buffer {
  const from = bytes[0] === DOT ? 1 : 0;
  const first = bytes.indexOf(STUFFED, from);
  return first < 0 ? bytes.subarray(from) : without(bytes, from, first, bytes);
}

/**
 * From `from` on, without the dot behind each line end, of which the first stands at `first`. `out` may be the piece itself.
 * Where dots are near one another each octet is looked at, so that a text of dots alone costs no more than any other.
 */
function without(piece: Buffer, from: number, first: number, out: Buffer): Buffer {
  let length = 0;
  let at = from;
  for (let next = first; next >= 0; next = piece.indexOf(STUFFED, at)) {
    length += piece.copy(out, length, at, next + 1);
    at = next + STUFFED.length;
    for (let near = 0, before = 0; at < piece.length && (near < NEAR_BYTES || before === LF); at++) {
      const octet = piece[at] as number;
      if (octet === DOT && before === LF) near = 0;
      else {
        out[length++] = octet;
        near++;
      }
      before = octet;
    }
  }
  length += piece.copy(out, length, at);
  return out.subarray(0, length);
}

/**
 * The first `most` octets as they came over the wire, in a buffer of their own, to be given to a thread; made a little a turn
 * of the loop. Nothing is read once the signal has aborted.
 */
export async function copyOf(message: Message, most: number, signal: AbortSignal): Promise<Buffer<ArrayBuffer>> {
  const out = Buffer.from(new ArrayBuffer(Math.min(most, message.sizeBytes)));
  let length = 0;
  let sinceTurn = 0;
  for (const piece of message.raw()) {
    length += piece.copy(out, length);
    if (length === out.length) break;
    sinceTurn += piece.length;
    if (sinceTurn < TURN_BYTES) continue;
    sinceTurn = 0;
    await new Promise(setImmediate);
    signal.throwIfAborted();
  }
  return out;
}

/** Resolves when the kernel has it, so that the next piece may be asked for; rejects when the stream has ended. */
export function written(to: Writable, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => void to.write(bytes, (error) => (error ? reject(error) : resolve())));
}
