/**
 * A message body while it waits for its verdict: the bytes as they came, dot-stuffed, without the final lone dot.
 *
 * The first part is held in memory, the rest in a file on tmpfs that has no name, so nothing outlives the process.
 */
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';

/** How much all bodies of this process hold together; `take` says no when there is no room. */
export class SpoolBudget {
  /** a reload may change it */
  totalBytes: number;
  /** spool files open now: each is a descriptor */
  openFiles = 0;
  #heldBytes = 0;

  constructor(totalBytes: number) {
    this.totalBytes = totalBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  take(bytes: number): boolean {
    if (this.#heldBytes + bytes > this.totalBytes) return false;
    this.#heldBytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#heldBytes -= bytes;
  }
}

const READ_BYTES = 256 * 1024;
/** A host may send a body in segments of one byte: what is smaller than this is copied together, not kept one by one. */
const SMALL_BYTES = 4096;
const BLOCK_BYTES = 64 * 1024;
let files = 0;

export class SpooledBody {
  readonly #budget: SpoolBudget;
  readonly #memoryBytes: number;
  readonly #directory: string;
  #chunks: Buffer[] = [];
  /** where small chunks are gathered: the last of #chunks is its filled part */
  #block: Buffer | undefined;
  #blockUsed = 0;
  #inMemory = 0;
  #fd: number | undefined;
  #sizeBytes = 0;

  constructor(budget: SpoolBudget, memoryBytes: number, directory: string) {
    this.#budget = budget;
    this.#memoryBytes = memoryBytes;
    this.#directory = directory;
  }

  /** Bytes so far, as on the wire. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /**
   * Keeps the chunk; a large one as it is, so the caller gives it away. False when the budget is used up or the file
   * fails.
   */
  append(chunk: Buffer): boolean {
    if (chunk.length === 0) return true;
    if (!this.#budget.take(chunk.length)) return false;
    this.#sizeBytes += chunk.length;
    if (this.#fd === undefined && this.#inMemory + chunk.length <= this.#memoryBytes) {
      this.#keep(chunk);
      this.#inMemory += chunk.length;
      return true;
    }
    try {
      this.#fd ??= this.#openFile();
      for (let at = 0; at < chunk.length; ) at += writeSync(this.#fd, chunk, at);
      return true;
    } catch {
      return false;
    }
  }

  #keep(chunk: Buffer): void {
    if (chunk.length >= SMALL_BYTES || this.#chunks.length === 0) {
      this.#chunks.push(chunk);
      this.#block = undefined;
      return;
    }
    if (this.#block === undefined || this.#blockUsed + chunk.length > this.#block.length) {
      // Twice the last one: a few small chunks don't cost a large block, many don't cost many blocks.
      const bytes = Math.min(BLOCK_BYTES, Math.max(SMALL_BYTES, 2 * (this.#block?.length ?? 0)));
      this.#block = Buffer.allocUnsafe(bytes);
      this.#blockUsed = 0;
      this.#chunks.push(this.#block.subarray(0, 0));
    }
    chunk.copy(this.#block, this.#blockUsed);
    this.#blockUsed += chunk.length;
    this.#chunks[this.#chunks.length - 1] = this.#block.subarray(0, this.#blockUsed);
  }

  #openFile(): number {
    const fd = openUnlinked(this.#directory);
    this.#budget.openFiles++;
    return fd;
  }

  /**
   * The body from its start, in pieces of at most 256 KiB (memory pieces as they came). With `scratch` what is in the
   * file is read into that: such a piece is there until the next is asked for.
   */
  *read(scratch?: Buffer): Generator<Buffer, void, void> {
    yield* this.#chunks;
    if (this.#fd === undefined) return;
    for (let at = 0, end = this.#sizeBytes - this.#inMemory; at < end; ) {
      const piece = scratch ?? Buffer.allocUnsafe(Math.min(READ_BYTES, end - at));
      const length = readSync(this.#fd, piece, 0, Math.min(piece.length, end - at), at);
      if (length === 0) throw new Error('the spool file is shorter than what was written to it');
      at += length;
      yield piece.subarray(0, length);
    }
  }

  /** Frees memory, file and budget. Safe to call twice. */
  release(): void {
    this.#budget.give(this.#sizeBytes);
    this.#sizeBytes = 0;
    this.#inMemory = 0;
    this.#chunks = [];
    this.#block = undefined;
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
