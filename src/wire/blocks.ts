/**
 * Blocks of memory for large bodies: what is read into one stays there, is scanned there and is sent from there.
 *
 * They lie in slabs, made when there is no free block and left to the garbage collector when all blocks of one have been
 * free for a while. How many there may be is for those who take them to know (SpoolBudget).
 */
import { ScannedMemory } from './scan.ts';
import { HEAD_BYTES } from './scan-module.ts';

const SLAB_BYTES = 4 * 1024 * 1024;
/** What a block costs: a slab's share. It holds HEAD_BYTES less. */
export const BLOCK_BYTES = 256 * 1024;
const BLOCKS_IN_SLAB = SLAB_BYTES / BLOCK_BYTES;
const SWEEP_MS = 10_000;

export class Block {
  readonly slab: Slab;
  /** where its first byte is in `slab.memory` */
  readonly address: number;
  readonly bytes: Buffer;
  /** how many of its bytes are taken, from the first on */
  usedBytes = 0;

  constructor(slab: Slab, start: number) {
    this.slab = slab;
    this.address = start + HEAD_BYTES;
    this.bytes = slab.memory.bytes.subarray(this.address, start + BLOCK_BYTES);
  }

  get freeBytes(): number {
    return this.bytes.length - this.usedBytes;
  }
}

class Slab {
  readonly memory = new ScannedMemory(SLAB_BYTES);
  readonly free: Block[] = [];
  /** nothing of it was in use at the last sweep, nor since */
  isIdle = false;

  constructor() {
    for (let at = SLAB_BYTES; at > 0; ) this.free.push(new Block(this, (at -= BLOCK_BYTES)));
  }
}

export class BlockPool {
  #slabs: Slab[] = [];
  #sweeper: NodeJS.Timeout | undefined;

  /** Memory that is held for blocks, in use or not. */
  get sizeBytes(): number {
    return this.#slabs.length * SLAB_BYTES;
  }

  /** An empty block; undefined when the system has no more memory. */
  take(): Block | undefined {
    // The first slab with a free one, so that the last ones become idle.
    let slab = this.#slabs.find(({ free }) => free.length > 0);
    if (!slab) {
      try {
        slab = new Slab();
      } catch {
        return undefined;
      }
      this.#slabs.push(slab);
      this.#sweeper ??= setInterval(() => this.sweep(), SWEEP_MS).unref();
    }
    slab.isIdle = false;
    return slab.free.pop();
  }

  /** Nobody may use the block any more. */
  give(block: Block): void {
    block.usedBytes = 0;
    block.slab.free.push(block);
  }

  /** Lets go of the slabs that are as idle as they were at the last sweep. */
  sweep(): void {
    this.#slabs = this.#slabs.filter((slab) => {
      const wasIdle = slab.isIdle;
      slab.isIdle = slab.free.length === BLOCKS_IN_SLAB;
      return !(wasIdle && slab.isIdle);
    });
    if (this.#slabs.length > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }
}

/** Those of this process. */
export const blockPool = new BlockPool();
