/** How a message goes over a connection: its pieces, and what stands around them. */
import { FILE_PIECE_BYTES, type SpooledBody } from '../wire/spool.ts';

/** After 354 a message is dot-stuffed and ends in a lone dot; as a chunk its size is said first. */
export type Frame = { readonly begin?: Buffer; readonly end?: Buffer };

export const DOTTED: Frame = { end: Buffer.from('.\r\n') };

/** RFC 3030 section 2: the whole message as the last chunk; its octets are not stuffed. */
export function lastChunk(sizeBytes: number): Frame {
  return { begin: Buffer.from(`BDAT ${sizeBytes} LAST\r\n`, 'latin1') };
}

/**
 * The trace on top, then the body. Where the connection lets go of each piece before the next (`takesAtOnce`), there is
 * one place for all that is read from a file.
 */
export function* pieces(trace: Buffer, body: SpooledBody, takesAtOnce: boolean): Generator<Buffer, void, void> {
  yield trace;
  yield* body.read(takesAtOnce && body.fileBytes > 0 ? Buffer.allocUnsafeSlow(FILE_PIECE_BYTES) : undefined);
}

/** At most this large a message goes as a chunk: for a larger one the turn that it saves is nothing. */
const CHUNK_BYTES = 64 * 1024;
const STUFFED = '\n.';
const DOT = 0x2e;
const LF = 0x0a;

/** Small, and no line of it is dot-stuffed, so that its octets on the wire are those of the message. */
export function isChunk(body: SpooledBody): boolean {
  if (body.sizeBytes > CHUNK_BYTES) return false;
  let isFirst = true;
  let endedInLf = false;
  for (const piece of body.read()) {
    if (piece.length === 0) continue;
    if ((isFirst || endedInLf) && piece[0] === DOT) return false;
    if (piece.includes(STUFFED)) return false;
    isFirst = false;
    endedInLf = piece.at(-1) === LF;
  }
  return true;
}
