/**
 * Cuts a command stream into lines. Chunks are lent: what of one is not taken by the end of the caller's turn is kept by
 * `keep`, in a copy. Only CRLF ends a line; a bare CR, a bare LF or a NUL is a fault, and so is a line
 * longer than the bound. After a fault nothing more is read: where the next command begins can't be known.
 */
export type LineFault = 'line-end' | 'line-length';

const CR = 13;
const LF = 10;
const EMPTY = Buffer.alloc(0);

export class LineReader {
  readonly #maxBytes: number;
  #input: Buffer = EMPTY;
  /** the input when it is a copy of ours */
  #own: Buffer = EMPTY;
  #at = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that wait to be read. */
  get pendingBytes(): number {
    return this.#input.length - this.#at;
  }

  /** Lent until `keep`. */
  push(chunk: Buffer): void {
    if (this.pendingBytes === 0) this.#input = chunk;
    else {
      this.#own = Buffer.concat([this.#input.subarray(this.#at), chunk]);
      this.#input = this.#own;
    }
    this.#at = 0;
  }

  /** Makes what waits our own: the chunk that it came in goes back to who lent it. */
  keep(): void {
    if (this.pendingBytes === 0 || this.#input === this.#own) return;
    this.#own = Buffer.from(this.#input.subarray(this.#at));
    this.#input = this.#own;
    this.#at = 0;
  }

  /** The next line without its CRLF, one character for each byte (latin1); a fault; or undefined: more is needed. */
  next(): string | { readonly fault: LineFault } | undefined {
    const cr = this.#endOfGoodLine();
    if (cr >= 0) {
      const text = this.#input.toString('latin1', this.#at, cr);
      this.#at = cr + 2;
      // An idle host must not hold the large segment that its last command came in.
      if (this.#at === this.#input.length) this.takeRest();
      return text;
    }
    const lf = this.#input.indexOf(LF, this.#at);
    const length = this.#input.length;
    // A CR may stand last: its LF may be in the next segment.
    const stop = lf >= 0 ? lf - 1 : length > this.#at && this.#input[length - 1] === CR ? length - 1 : length;
    if (stop - this.#at + 2 > this.#maxBytes) return { fault: this.#faultOfLongLine() };
    if (lf >= 0) return { fault: 'line-end' };
    const bare = this.#input.indexOf(CR, this.#at);
    return (bare >= 0 && bare < stop) || this.#input.indexOf(0, this.#at) >= 0 ? { fault: 'line-end' } : undefined;
  }

  /** The CR of a whole line without a fault, or -1. For short lines one look at each byte costs less than three searches. */
  #endOfGoodLine(): number {
    const input = this.#input;
    const to = Math.min(input.length, this.#at + this.#maxBytes) - 1;
    for (let at = this.#at; at < to; at++) {
      const byte = input[at] as number;
      if (byte > CR) continue;
      if (byte === CR) return input[at + 1] === LF ? at : -1;
      if (byte === LF || byte === 0) return -1;
    }
    return -1;
  }

  /** What would have been found first had each octet come alone: the fault must not hang on how segments are cut. */
  #faultOfLongLine(): LineFault {
    const line = this.#input.subarray(this.#at, this.#at + this.#maxBytes - 2);
    const cr = line.indexOf(CR);
    const isBare = cr >= 0 && (cr < line.length - 1 || this.#input[this.#at + line.length] === CR);
    return isBare || line.includes(0) ? 'line-end' : 'line-length';
  }

  /** Everything that waits, taken out: the beginning of a body. */
  takeRest(): Buffer {
    const rest = this.#input.subarray(this.#at);
    this.#input = EMPTY;
    this.#own = EMPTY;
    this.#at = 0;
    return rest;
  }
}
