/**
 * A message body while it waits for its verdict: the bytes as they came, dot-stuffed, without the final lone dot.
 *
 * A small body is held in pieces of its own size, a large one in blocks into which it is read directly. When all bodies
 * together hold what they may in memory, the rest goes to a file on tmpfs that has no name, so nothing outlives the
 * process.
 */
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { BLOCK_BYTES, type Block, blockPool } from './blocks.ts';

/** How much all bodies of this process hold together; `take` says no when there is no room. */
export class SpoolBudget {
  /** a reload may change it */
  totalBytes: number;
  /** spool files open now: each is a descriptor */
  openFiles = 0;
  #heldBytes = 0;
  #memoryBytes = 0;

  constructor(totalBytes: number) {
    this.totalBytes = totalBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** What of it is in memory, with what is free in the blocks taken. */
  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  take(bytes: number): boolean {
    if (this.#heldBytes + bytes > this.totalBytes) return false;
    this.#heldBytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#heldBytes -= bytes;
  }

  /** False when there would be more than `maxBytes` in memory. */
  takeMemory(bytes: number, maxBytes: number): boolean {
    if (this.#memoryBytes + bytes > maxBytes) return false;
    this.#memoryBytes += bytes;
    return true;
  }

  giveMemory(bytes: number): void {
    this.#memoryBytes -= bytes;
  }
}

export const FILE_PIECE_BYTES = 256 * 1024;
/** Up to here a body takes no block: ten thousand small ones at a time must cost what they weigh. */
const SMALL_BODY_BYTES = 64 * 1024;
/** The share of the memory that blocks may take; the rest is for the beginnings of bodies, beside however many large ones. */
const BLOCKS_SHARE = 3 / 4;
/** A block with less free is no place to read to: a system call each for little. */
const MIN_ROOM_BYTES = 32 * 1024;
/** A host may send a body in segments of one byte: pieces smaller than this are gathered. */
const SMALL_PIECE_BYTES = 4096;
const MAX_GATHER_BYTES = 64 * 1024;
let files = 0;

export class SpooledBody {
  readonly #budget: SpoolBudget;
  readonly #memoryBytes: number;
  readonly #directory: string;
  #pieces: Buffer[] = [];
  /** where small pieces are gathered: the last of #pieces is its filled part */
  #gather: Buffer | undefined;
  #gatheredBytes = 0;
  #piecesBytes = 0;
  #blocks: Block[] = [];
  #fileBytes = 0;
  #fd: number | undefined;
  #sizeBytes = 0;

  /** `memoryBytes`: how much all bodies of the budget may hold in memory before further bytes go to files. */
  constructor(budget: SpoolBudget, memoryBytes: number, directory: string) {
    this.#budget = budget;
    this.#memoryBytes = memoryBytes;
    this.#directory = directory;
  }

  /** Bytes so far, as on the wire. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** How many of them are in the file: the last ones. */
  get fileBytes(): number {
    return this.#fileBytes;
  }

  /**
   * Keeps a copy of the bytes from `from` to `to`. False when the budget is used up or the file fails.
   */
  append(chunk: Buffer, from = 0, to = chunk.length): boolean {
    if (from === to) return true;
    if (!this.#budget.take(to - from)) return false;
    this.#sizeBytes += to - from;
    if (this.#appendSmall(chunk, from, to)) return true;
    let at = from;
    for (let block: Block | undefined; at < to && (block = this.#blockWith(1)); ) {
      const bytes = Math.min(block.freeBytes, to - at);
      chunk.copy(block.bytes, block.usedBytes, at, at + bytes);
      block.usedBytes += bytes;
      at += bytes;
    }
    return at === to || this.#write(chunk, at, to);
  }

  /**
   * The block that the next bytes may be read to, behind its `usedBytes`, with 32 KiB free or more. Undefined while the
   * body is small, when it is in a file already, and when there is no memory.
   */
  openBlock(): Block | undefined {
    return this.#sizeBytes < SMALL_BODY_BYTES ? undefined : this.#blockWith(MIN_ROOM_BYTES);
  }

  /** So many bytes were put behind what is used of openBlock(). False when the budget is used up. */
  commit(bytes: number): boolean {
    const block = this.#blocks.at(-1);
    if (!block || bytes > block.freeBytes) throw new RangeError('more than the open block has room for');
    if (!this.#budget.take(bytes)) return false;
    this.#sizeBytes += bytes;
    block.usedBytes += bytes;
    return true;
  }

  #blockWith(freeBytes: number): Block | undefined {
    if (this.#fd !== undefined) return undefined;
    const last = this.#blocks.at(-1);
    if (last && last.freeBytes >= freeBytes) return last;
    if (!this.#budget.takeMemory(BLOCK_BYTES, this.#memoryBytes * BLOCKS_SHARE)) return undefined;
    const block = blockPool.take();
    if (block) this.#blocks.push(block);
    else this.#budget.giveMemory(BLOCK_BYTES);
    return block;
  }

  #appendSmall(chunk: Buffer, from: number, to: number): boolean {
    const bytes = to - from;
    if (this.#sizeBytes > SMALL_BODY_BYTES || this.#fd !== undefined || this.#blocks.length > 0) return false;
    if (!this.#budget.takeMemory(bytes, this.#memoryBytes)) return false;
    this.#piecesBytes += bytes;
    if (bytes >= SMALL_PIECE_BYTES || this.#pieces.length === 0) {
      const piece = Buffer.allocUnsafe(bytes);
      chunk.copy(piece, 0, from, to);
      this.#pieces.push(piece);
      this.#gather = undefined;
      return true;
    }
    if (this.#gather === undefined || this.#gatheredBytes + bytes > this.#gather.length) {
      // Twice the last one: a few small pieces don't cost a large buffer, many don't cost many buffers.
      const size = Math.min(MAX_GATHER_BYTES, Math.max(SMALL_PIECE_BYTES, 2 * (this.#gather?.length ?? 0)));
      this.#gather = Buffer.allocUnsafe(size);
      this.#gatheredBytes = 0;
      this.#pieces.push(this.#gather.subarray(0, 0));
    }
    chunk.copy(this.#gather, this.#gatheredBytes, from, to);
    this.#gatheredBytes += bytes;
    this.#pieces[this.#pieces.length - 1] = this.#gather.subarray(0, this.#gatheredBytes);
    return true;
  }

  #write(chunk: Buffer, from: number, to: number): boolean {
    try {
      this.#fd ??= this.#openFile();
      for (let at = from; at < to; ) at += writeSync(this.#fd, chunk, at, to - at);
      this.#fileBytes += to - from;
      return true;
    } catch {
      return false;
    }
  }

  #openFile(): number {
    const fd = openUnlinked(this.#directory);
    this.#budget.openFiles++;
    return fd;
  }

  /**
   * The body from its start, in pieces of at most 256 KiB; those in memory as they lie there, until release(). With
   * `scratch` what is in the file is read into that: such a piece is there until the next is asked for.
   */
  *read(scratch?: Buffer): Generator<Buffer, void, void> {
    yield* this.#pieces;
    for (const block of this.#blocks) yield block.bytes.subarray(0, block.usedBytes);
    if (this.#fd === undefined) return;
    for (let at = 0, end = this.#fileBytes; at < end; ) {
      const piece = scratch ?? Buffer.allocUnsafe(Math.min(FILE_PIECE_BYTES, end - at));
      const length = readSync(this.#fd, piece, 0, Math.min(piece.length, end - at), at);
      if (length === 0) throw new Error('the spool file is shorter than what was written to it');
      at += length;
      yield piece.subarray(0, length);
    }
  }

  /** Frees memory, file and budget at once: nothing that read() gave may be in use any more. Safe to call twice. */
  release(): void {
    this.#budget.give(this.#sizeBytes);
    this.#budget.giveMemory(this.#piecesBytes + this.#blocks.length * BLOCK_BYTES);
    for (const block of this.#blocks) blockPool.give(block);
    this.#sizeBytes = 0;
    this.#piecesBytes = 0;
    this.#pieces = [];
    this.#gather = undefined;
    this.#blocks = [];
    this.#fileBytes = 0;
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
    this.#budget.openFiles--;
  }
}

function openUnlinked(directory: string): number {
  const path = `${directory}/body.${process.pid}.${files++}`;
  const fd = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  return fd;
}
