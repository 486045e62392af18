/** The octets of a message as its author wrote them: without the dots that SMTP puts before dots (RFC 5321 section 4.5.2). */
import type { Writable } from 'node:stream';
import type { Message } from './message.ts';

const [LF, DOT] = [10, 46];
const STUFFED = Buffer.from('\n.');
/** Copied between two turns of the loop. */
const TURN_BYTES = 1024 * 1024;

/** One piece for each; a copy only where a dot is left out. Each is there until the next is asked for. */
export function* unstuffed(pieces: Iterable<Buffer>): Generator<Buffer, void, void> {
  // A bare LF is refused, so that a LF always ends a line.
  let isAtLineStart = true;
  for (const piece of pieces) {
    if (piece.length === 0) continue;
    const from = isAtLineStart && piece[0] === DOT ? 1 : 0;
    isAtLineStart = piece[piece.length - 1] === LF;
    yield piece.includes(STUFFED, from) ? without(piece, from) : piece.subarray(from);
  }
}

/** From `from` on, without the dot behind each line end. One octet after the other: a text of dots alone costs no more. */
function without(piece: Buffer, from: number): Buffer {
  const out = Buffer.allocUnsafe(piece.length);
  let length = 0;
  for (let at = from, before = 0; at < piece.length; at++) {
    const octet = piece[at] as number;
    if (octet !== DOT || before !== LF) out[length++] = octet;
    before = octet;
  }
  return out.subarray(0, length);
}

/**
 * The first `most` octets in a buffer of their own, to be given to a thread; made a little a turn of the loop. Nothing is
 * read once the signal has aborted.
 */
export async function copyOf(message: Message, most: number, signal: AbortSignal): Promise<Buffer<ArrayBuffer>> {
  const out = Buffer.from(new ArrayBuffer(Math.min(most, message.sizeBytes)));
  let length = 0;
  let sinceTurn = 0;
  for (const piece of unstuffed(message.raw())) {
    length += piece.copy(out, length);
    if (length === out.length) break;
    sinceTurn += piece.length;
    if (sinceTurn < TURN_BYTES) continue;
    sinceTurn = 0;
    await new Promise(setImmediate);
    signal.throwIfAborted();
  }
  return out.subarray(0, length);
}

/** Resolves when the kernel has it, so that the next piece may be asked for; rejects when the stream has ended. */
export function written(to: Writable, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => void to.write(bytes, (error) => (error ? reject(error) : resolve())));
}
