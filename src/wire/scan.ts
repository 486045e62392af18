/** A memory whose bytes are scanned where they lie, at several octets in a processor's cycle (scan-module.ts). */
import { LINE_AT, PAGE_BYTES, scanModuleBytes } from './scan-module.ts';

type Scan = (at: number, to: number, tooLongAt: number, maxLineBytes: number, lineEnds: number, nuls: number) => number;

type Memory = { readonly buffer: ArrayBuffer };

/** As much as is used here; @types/node leaves it out. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Memory: new (pages: { readonly initial: number; readonly maximum: number }) => Memory;
  readonly Instance: new (
    module: object,
    imports: { readonly wire: { readonly memory: Memory } },
  ) => { readonly exports: Readonly<Record<string, unknown>> };
};

/** Compiled once for all memories; each has an instance of its own. */
const scanModule = new WebAssembly.Module(scanModuleBytes);

/** more than any memory has: addresses are 32 bits */
const MANY_BYTES = 2 ** 30;

export class ScannedMemory {
  /** All of it. What is scanned lies behind the first HEAD_BYTES. */
  readonly bytes: Buffer;
  readonly #scan: Scan;
  readonly #lineAt: Int32Array;

  /** Throws a RangeError when the system has no room for it. */
  constructor(sizeBytes: number) {
    const pages = Math.ceil(sizeBytes / PAGE_BYTES);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const { exports } = new WebAssembly.Instance(scanModule, { wire: { memory } });
    this.#scan = exports['scan'] as Scan;
    this.#lineAt = new Int32Array(memory.buffer, LINE_AT, 1);
    this.bytes = Buffer.from(memory.buffer);
  }

  /**
   * The address of the first byte from `at` on that needs a closer look, or `to`. The two bytes in front of `at` are
   * those that came before; `lineBytes` of the line came before, and it may have `maxLineBytes`: at least 64, or Infinity.
   * Line ends and NULs are looked for when that is asked: each is a stop.
   */
  scan(at: number, to: number, lineBytes: number, maxLineBytes: number, lineEnds: boolean, nuls: boolean): number {
    const max = Math.min(maxLineBytes, MANY_BYTES);
    const tooLongAt = at + Math.min(maxLineBytes - lineBytes, MANY_BYTES);
    return this.#scan(at, to, tooLongAt, max, lineEnds ? -1 : 0, nuls ? -1 : 0);
  }

  /** After `scan`: the address behind the last LF that it has passed over, or 0. */
  get lineAt(): number {
    return this.#lineAt[0] as number;
  }
}
