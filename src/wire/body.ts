/**
 * Reads one message body off the wire: finds where it ends, finds what cannot be carried, keeps the rest as it came.
 *
 * Only CRLF ends a line and only CRLF.CRLF ends the body (RFC 5321 section 4.1.1.4), at any segment split. A bare CR, a
 * bare LF or a NUL is a fault and never repaired: two servers that repair differently disagree where a message ends,
 * which is SMTP smuggling. Every byte is passed over once, by native searches; nothing is unstuffed or copied.
 */
import type { SpooledBody } from './spool.ts';

/** The worst first: of several the worst is told, whichever came first, so that nothing hangs on how segments are cut. */
const FAULTS = ['line-end', 'nul', 'line-length', 'size', 'memory'] as const;
export type BodyFault = (typeof FAULTS)[number];

const CR = 13;
const LF = 10;
const DOT = 46;
/** what may have been held back at the end of a chunk: the beginning of a terminator */
const HELD = [Buffer.alloc(0), Buffer.from('.'), Buffer.from('.\r')] as const;

export class BodyReader {
  readonly spool: SpooledBody;
  readonly #maxLineBytes: number;
  readonly #maxSizeBytes: number;
  #fault: BodyFault | undefined;
  #receivedBytes = 0;
  /** bytes since the last CRLF, and the first of them */
  #lineBytes = 0;
  #lineFirst = 0;
  /** bytes since the last LF of any kind, and the first of them: a lenient server's idea of a line */
  #lfBytes = 0;
  #lfFirst = 0;
  #lastWasCr = false;
  /** 0, 1 or 2 bytes of a possible terminator, not spooled yet */
  #held = 0;
  #lenientEnd = false;

  constructor(spool: SpooledBody, limits: { readonly maxLineBytes: number; readonly maxSizeBytes: number }) {
    this.spool = spool;
    this.#maxLineBytes = limits.maxLineBytes;
    this.#maxSizeBytes = limits.maxSizeBytes;
  }

  /** What makes the body impossible to carry. The rest is read and dropped, to stay in step. */
  get fault(): BodyFault | undefined {
    return this.#fault;
  }

  /** Bytes read, kept or dropped, without the terminator's dot line. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /**
   * A faulty body has shown a lone dot that a lenient server would take for its end. Whether the host goes on with a
   * body or with commands can't be known any more: refuse and close.
   */
  get lenientEnd(): boolean {
    return this.#lenientEnd;
  }

  /**
   * Takes the bytes of a chunk from `from` on. Returns the index behind the terminator, or -1 when the body goes on.
   * Keeps pieces of the chunk: the caller must not write to it any more.
   */
  push(chunk: Buffer, from: number): number {
    const heldBefore = this.#held;
    const lineBytesBefore = this.#lineBytes;
    const end = this.#scan(chunk, from);
    const stop = end < 0 ? chunk.length : end;
    this.#receivedBytes += stop - from - (end < 0 ? 0 : 3);

    if (end >= 0 && end - from < 3) {
      // the terminator began in an earlier chunk, where it was held back
      this.#held = 0;
      return end;
    }
    const sameLine = this.#lineBytes === lineBytesBefore + (stop - from);
    if (end < 0 && heldBefore > 0 && sameLine && this.#candidate()) {
      this.#held = this.#lineBytes;
      return -1;
    }
    this.#held = end < 0 && this.#candidate() ? this.#lineBytes : 0;
    if (this.#fault === undefined && heldBefore > 0) this.#keep(HELD[heldBefore] as Buffer);
    if (this.#fault === undefined) this.#keep(chunk.subarray(from, end < 0 ? chunk.length - this.#held : end - 3));
    return end;
  }

  #keep(piece: Buffer): void {
    if (this.spool.sizeBytes + piece.length > this.#maxSizeBytes) this.#fail('size');
    else if (!this.spool.append(piece)) this.#fail('memory');
  }

  #fail(fault: BodyFault): void {
    if (this.#fault !== undefined && FAULTS.indexOf(this.#fault) <= FAULTS.indexOf(fault)) return;
    this.#fault = fault;
    this.spool.release();
  }

  /** The line so far may become the lone dot. */
  #candidate(): boolean {
    return this.#lineFirst === DOT && (this.#lineBytes === 1 || (this.#lineBytes === 2 && this.#lastWasCr));
  }

  #scan(chunk: Buffer, from: number): number {
    if (chunk.indexOf(0, from) >= 0) {
      // A NUL behind the terminator belongs to the next command; only then is the exact place of interest.
      const end = this.#lines(chunk, from);
      if (chunk.subarray(from, end < 0 ? chunk.length : end).includes(0)) this.#fail('nul');
      return end;
    }
    return this.#lines(chunk, from);
  }

  #lines(chunk: Buffer, from: number): number {
    let at = from;
    while (at < chunk.length) {
      if (this.#lastWasCr && chunk[at] !== LF) this.#fail('line-end');
      if (this.#lineBytes === 0) this.#lineFirst = chunk[at] as number;
      if (this.#lfBytes === 0) this.#lfFirst = chunk[at] as number;
      const lf = chunk.indexOf(LF, at);
      const stop = lf < 0 ? chunk.length : lf + 1;
      const pieceBytes = stop - at;
      // Once is enough; asking on would let a body without any CR be searched to its end for every line.
      if (this.#fault !== 'line-end') {
        const cr = chunk.indexOf(CR, at);
        if (cr >= 0 && cr < (lf < 0 ? chunk.length - 1 : lf - 1)) this.#fail('line-end');
      }
      this.#lineBytes += pieceBytes;
      this.#lfBytes += pieceBytes;
      if (lf < 0) {
        this.#lastWasCr = chunk[chunk.length - 1] === CR;
        if (this.#lineBytes > this.#maxLineBytes) this.#fail('line-length');
        return -1;
      }
      const crlf = lf > at ? chunk[lf - 1] === CR : this.#lastWasCr;
      this.#lastWasCr = false;
      if (crlf) {
        if (this.#lineBytes === 3 && this.#lineFirst === DOT) return lf + 1;
        if (this.#lineBytes > this.#maxLineBytes) this.#fail('line-length');
        this.#lineBytes = 0;
      } else {
        this.#fail('line-end');
      }
      if (this.#fault !== undefined && this.#lfFirst === DOT && this.#lfBytes === (crlf ? 3 : 2))
        this.#lenientEnd = true;
      this.#lfBytes = 0;
      at = lf + 1;
    }
    return -1;
  }
}
