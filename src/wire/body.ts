/**
 * Reads one message body off the wire: finds where it ends, finds what cannot be carried, keeps the rest as it came.
 *
 * Only CRLF ends a line and only CRLF.CRLF ends the body (RFC 5321 section 4.1.1.4), at any segment split. A bare CR, a
 * bare LF or a NUL is a fault and never repaired: two servers that repair differently disagree where a message ends,
 * which is SMTP smuggling. Every byte is passed over once, where it lies, and nothing is unstuffed; a byte that may be
 * the end or a fault is looked at closely.
 */
import { ScannedMemory } from './scan.ts';
import { HEAD_BYTES } from './scan-module.ts';
import type { Block } from './blocks.ts';
import type { SpooledBody } from './spool.ts';

/** The worst first: of several the worst is told, whichever came first, so that nothing hangs on how segments are cut. */
const FAULTS = ['line-end', 'nul', 'line-length', 'size', 'memory'] as const;
export type BodyFault = (typeof FAULTS)[number];
const [LINE_END, NUL, LINE_LENGTH, SIZE, MEMORY] = [0, 1, 2, 3, 4] as const;
/** the rank of "no fault" */
const FAULTLESS: number = FAULTS.length;

const CR = 13;
const LF = 10;
const DOT = 46;
/** what may have been held back at the end of a chunk: the beginning of a terminator */
const HELD = [Buffer.alloc(0), Buffer.from('.'), Buffer.from('.\r')] as const;
const TERMINATOR_BYTES = 3;
/** A terminator is five bytes with the line end before it: at its last one the four before are looked at. */
const HISTORY_BYTES = 4;
/** The CRLF of DATA: a dot that comes first stands at the beginning of a line. Read as a little endian number. */
const AFTER_DATA = Buffer.from('xx\r\n').readInt32LE();
/** The scanner counts on it. */
const LEAST_MAX_LINE_BYTES = 64;

/** Where bytes are scanned that lie elsewhere. */
const SCRATCH_BYTES = 64 * 1024;
const scratch = new ScannedMemory(HEAD_BYTES + SCRATCH_BYTES);

export class BodyReader {
  readonly spool: SpooledBody;
  readonly #maxLineBytes: number;
  readonly #maxSizeBytes: number;
  #rank = FAULTLESS;
  #receivedBytes = 0;
  /** bytes since the last line end */
  #lineBytes = 0;
  /** the last four bytes, a little endian number */
  #history = AFTER_DATA;
  /** 0, 1 or 2 bytes of a possible terminator, not spooled yet */
  #held = 0;
  #lenientEnd = false;
  /** where room() is */
  #open: Block | undefined;

  /** Throws a RangeError when `maxLineBytes` is less than 64. */
  constructor(spool: SpooledBody, limits: { readonly maxLineBytes: number; readonly maxSizeBytes: number }) {
    if (limits.maxLineBytes < LEAST_MAX_LINE_BYTES) throw new RangeError(`maxLineBytes is ${limits.maxLineBytes}`);
    this.spool = spool;
    this.#maxLineBytes = limits.maxLineBytes;
    this.#maxSizeBytes = limits.maxSizeBytes;
  }

  /** What makes the body impossible to carry. The rest is read and dropped, to stay in step. */
  get fault(): BodyFault | undefined {
    return (FAULTS as readonly BodyFault[])[this.#rank];
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
   * The chunk is borrowed for the call: what is kept of it is copied.
   */
  push(chunk: Buffer, from: number): number {
    for (let at = from, bytes: number; at < chunk.length; at += bytes) {
      // Once copied there, it need not be copied again.
      const room = this.room();
      bytes = Math.min(room?.length ?? SCRATCH_BYTES, chunk.length - at);
      if (room) chunk.copy(room, 0, at, at + bytes);
      const end = room ? this.filled(bytes) : this.#pushSome(chunk, at, bytes);
      if (end >= 0) return at + end;
    }
    return -1;
  }

  /** As `filled`, of bytes that lie elsewhere, at most SCRATCH_BYTES. */
  #pushSome(chunk: Buffer, at: number, bytes: number): number {
    chunk.copy(scratch.bytes, HEAD_BYTES, at, at + bytes);
    const heldBefore = this.#held;
    const end = this.#look(scratch, HEAD_BYTES, bytes);
    const kept = this.#settle(bytes, end);
    // Of what was held back either all is kept, or it is the beginning of what is held back now.
    if (kept > 0 && this.#rank === FAULTLESS) {
      const isKept =
        this.spool.append(HELD[heldBefore] as Buffer) && this.spool.append(chunk, at, at + kept - heldBefore);
      if (!isKept) this.#fail(MEMORY);
    }
    return end;
  }

  /**
   * Where the next bytes may be read to, 32 KiB or more; say with `filled` how many came. Undefined while the body is
   * small, after a fault, and when there is no memory for blocks: then read to a buffer of your own and push it. A view
   * that stands until the next call.
   */
  room(): Buffer | undefined {
    this.#open = this.#rank === FAULTLESS ? this.spool.openBlock() : undefined;
    if (!this.#open) return undefined;
    const { bytes, usedBytes } = this.#open;
    // What is held back keeps its place: it is written there, with the rest of the history, when it is known how it goes on.
    return bytes.subarray(usedBytes + this.#held);
  }

  /**
   * So many bytes have been read into room(), the last call before this one; without it, it throws. Returns the index in
   * room() behind the terminator, or -1. What stands behind the terminator is there until the next call to any body.
   */
  filled(bytes: number): number {
    const block = this.#open;
    if (!block) throw new Error('filled() without room()');
    this.#open = undefined;
    const at = block.usedBytes + this.#held;
    if (bytes > block.bytes.length - at) throw new RangeError(`${bytes} bytes in less room`);
    const end = this.#look(block.slab.memory, block.address + at, bytes);
    const kept = this.#settle(bytes, end);
    if (kept > 0 && this.#rank === FAULTLESS && !this.spool.commit(kept)) this.#fail(MEMORY);
    return end;
  }

  /** Counts what came. Returns how much of it, with what was held back before it, is to be kept. */
  #settle(bytes: number, end: number): number {
    const heldBefore = this.#held;
    const passed = end < 0 ? bytes : end;
    this.#held = end < 0 ? this.#candidateBytes() : TERMINATOR_BYTES;
    this.#receivedBytes += passed - (end < 0 ? 0 : TERMINATOR_BYTES);
    const bodyBytes = end < 0 ? this.#receivedBytes - this.#held : this.#receivedBytes;
    if (bodyBytes > this.#maxSizeBytes) this.#fail(SIZE);
    return heldBefore + passed - this.#held;
  }

  /** So many last bytes may become the terminator. */
  #candidateBytes(): 0 | 1 | 2 {
    const [last, before] = [this.#history >>> 24, (this.#history >>> 16) & 0xff];
    if (this.#lineBytes === 1 && last === DOT) return 1;
    return this.#lineBytes === 2 && before === DOT && last === CR ? 2 : 0;
  }

  #fail(rank: number): void {
    if (this.#rank <= rank) return;
    this.#rank = rank;
    this.spool.release();
  }

  /** Passes over so many bytes at an address. Returns how many they are up to the terminator's end, or -1. */
  #look(memory: ScannedMemory, address: number, lookBytes: number): number {
    const { bytes } = memory;
    const to = address + lookBytes;
    // In a block they stand there already, unless it is a new one or they were pushed.
    bytes.writeInt32LE(this.#history, address - HISTORY_BYTES);
    let at = address;
    let isEnd = false;
    while (at < to && !isEnd) {
      // The scanner stops at the CR of a lone dot; the LF, which may come in the next chunk, is for us.
      if (bytes[at - 1] !== CR) at = this.#scan(memory, at, to);
      if (at < to) isEnd = this.#lookClosely(bytes, at++);
    }
    this.#history = bytes.readInt32LE(at - HISTORY_BYTES);
    return isEnd ? at - address : -1;
  }

  /** On to the next byte that needs a closer look, or to the end. */
  #scan(memory: ScannedMemory, at: number, to: number): number {
    // What is found is looked for no longer: a fault is found once, not at every line.
    const maxLineBytes = this.#rank > LINE_LENGTH ? this.#maxLineBytes : Infinity;
    const stop = memory.scan(at, to, this.#lineBytes, maxLineBytes, this.#rank > LINE_END, this.#rank > NUL);
    const { lineAt } = memory;
    this.#lineBytes = lineAt > 0 ? stop - lineAt : this.#lineBytes + stop - at;
    return stop;
  }

  /** One byte, with those before it. True when it is the last of the terminator. */
  #lookClosely(bytes: Buffer, at: number): boolean {
    const isLf = bytes[at] === LF;
    const isAfterCr = bytes[at - 1] === CR;
    if (isLf) {
      const dot = isAfterCr ? at - 2 : at - 1;
      if (bytes[dot] === DOT && bytes[dot - 1] === LF) {
        if (isAfterCr && bytes[dot - 2] === CR) return true;
        this.#lenientEnd = true;
      }
    }
    if (isLf !== isAfterCr) this.#fail(LINE_END);
    if (bytes[at] === 0) this.#fail(NUL);
    if (++this.#lineBytes > this.#maxLineBytes) this.#fail(LINE_LENGTH);
    if (isLf) this.#lineBytes = 0;
    return false;
  }
}
