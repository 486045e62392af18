/** bzip2, unpacked with a bound: blocks of up to 900 kB, each sorted (Burrows-Wheeler), counted and Huffman-coded. */

const BLOCK_MAGIC = 0x314159265359;
const END_MAGIC = 0x177245385090;
const LEVEL_BYTES = 100_000;
const GROUP_SYMBOLS = 50;
const MAX_CODE_BITS = 20;
/** Codes of up to so many bits are looked up, longer ones counted out. */
const QUICK_BITS = 10;
const RUN_A = 0;
const RUN_B = 1;
const LEAST_COST_BYTES = 4096;
const MOST_ALIKE = 4;
const MAX_RUN = 255;

export type Bunzipped = {
  readonly content: Buffer;
  /** nothing is left behind the content: neither damaged there, nor cut at the bound */
  readonly isWhole: boolean;
  /** of the bound; at least what the content has */
  readonly spentBytes: number;
};

class Damaged extends Error {}

/** Of one block; kept, for making it takes longer than a small block. */
let scratch = new Uint32Array(0);

export function bunzip2(bytes: Buffer, most: number): Bunzipped {
  const bits = new Bits(bytes);
  const out = new Out(most);
  try {
    // Another stream may follow.
    for (; bits.left >= 80; bits.align()) {
      if (bits.read(24) !== 0x425a68) throw new Damaged();
      const level = bits.read(8) - 0x30;
      if (level < 1 || level > 9) throw new Damaged();
      if (!out.spend(0)) return out.bunzipped(false);
      for (;;) {
        const magic = bits.read(24) * 2 ** 24 + bits.read(24);
        bits.read(32);
        if (magic === END_MAGIC) break;
        if (magic !== BLOCK_MAGIC) throw new Damaged();
        if (scratch.length < level * LEVEL_BYTES) scratch = new Uint32Array(level * LEVEL_BYTES);
        if (!block(bits, scratch.subarray(0, level * LEVEL_BYTES), out)) return out.bunzipped(false);
      }
    }
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
    return out.bunzipped(false);
  }
  return out.bunzipped(true);
}

/** False when there is no room for all of it. */
function block(bits: Bits, sorted: Uint32Array, out: Out): boolean {
  // Blocks made before 1998 could be shuffled.
  if (bits.read(1) !== 0) throw new Damaged();
  const start = bits.read(24);
  const counts = new Uint32Array(256);
  const { count, coded } = symbols(bits, sorted, counts);
  if (start >= count) throw new Damaged();
  // A block costs what it holds, or says that it holds.
  if (!out.spend(Math.max(count, coded))) return false;
  // The place of each octet in the sorted order.
  let sum = 0;
  for (let octet = 0; octet < 256; octet++) {
    const of = counts[octet] as number;
    counts[octet] = sum;
    sum += of;
  }
  for (let i = 0; i < count; i++) {
    const octet = (sorted[i] as number) & 0xff;
    const place = counts[octet] as number;
    counts[octet] = place + 1;
    sorted[place] = (sorted[place] as number) | (i << 8);
  }
  return runs(sorted, count, start, out);
}

/** Octets in their sorted order, with how often each stands there; how many, and how many symbols there is a table for. */
function symbols(
  bits: Bits,
  sorted: Uint32Array,
  counts: Uint32Array,
): { readonly count: number; readonly coded: number } {
  const order = usedOctets(bits);
  const groups = bits.read(3);
  const selectorCount = bits.read(15);
  if (groups < 2 || groups > 6 || selectorCount === 0 || order.length === 0) throw new Damaged();
  const selectors = moveToFront(selectorCount, groups, bits);
  const tables = Array.from({ length: groups }, () => new Codes(bits, order.length + 2));
  const last = order.length + 1;
  let count = 0;
  let run = 0;
  let runBit = 1;
  for (let at = 0; ; at++) {
    const table = tables[selectors[Math.floor(at / GROUP_SYMBOLS)] ?? -1];
    if (!table) throw new Damaged();
    const symbol = table.next(bits);
    if (symbol === RUN_A || symbol === RUN_B) {
      run += runBit << symbol;
      runBit *= 2;
      if (run > sorted.length) throw new Damaged();
      continue;
    }
    if (run > 0) {
      const octet = order[0] as number;
      if (count + run > sorted.length) throw new Damaged();
      sorted.fill(octet, count, count + run);
      counts[octet] = (counts[octet] as number) + run;
      count += run;
      [run, runBit] = [0, 1];
    }
    if (symbol === last) return { count, coded: selectorCount * GROUP_SYMBOLS };
    const place = symbol - 1;
    const octet = order[place] as number;
    order.copyWithin(1, 0, place);
    order[0] = octet;
    if (count >= sorted.length) throw new Damaged();
    sorted[count++] = octet;
    counts[octet] = (counts[octet] as number) + 1;
  }
}

function usedOctets(bits: Bits): Uint8Array {
  const rows = bits.read(16);
  const used: number[] = [];
  for (let row = 0; row < 16; row++) {
    if ((rows & (0x8000 >> row)) === 0) continue;
    const columns = bits.read(16);
    for (let column = 0; column < 16; column++) if ((columns & (0x8000 >> column)) !== 0) used.push(row * 16 + column);
  }
  return Uint8Array.from(used);
}

function moveToFront(count: number, groups: number, bits: Bits): Uint8Array {
  const order = Uint8Array.from([0, 1, 2, 3, 4, 5].slice(0, groups));
  return Uint8Array.from({ length: count }, () => {
    let place = 0;
    while (bits.read(1) === 1) if (++place >= groups) throw new Damaged();
    const chosen = order[place] as number;
    order.copyWithin(1, 0, place);
    order[0] = chosen;
    return chosen;
  });
}

/** The text in its own order; four alike are followed by how many more there are. */
function runs(sorted: Uint32Array, count: number, start: number, out: Out): boolean {
  let at = (sorted[start] as number) >>> 8;
  let before = -1;
  let alike = 0;
  let { bytes, length } = out;
  for (let i = 0; i < count; i++) {
    const entry = sorted[at] as number;
    at = entry >>> 8;
    const octet = entry & 0xff;
    if (length + MAX_RUN > bytes.length) {
      out.length = length;
      if (!out.grow()) return false;
      bytes = out.bytes;
    }
    if (alike === MOST_ALIKE) {
      for (let more = octet; more > 0; more--) bytes[length++] = before;
      alike = 0;
      before = -1;
      continue;
    }
    bytes[length++] = octet;
    alike = octet === before ? alike + 1 : 1;
    before = octet;
  }
  out.length = length;
  return true;
}

/** Huffman codes, in the canonical order. */
class Codes {
  readonly #limits = new Int32Array(MAX_CODE_BITS + 2).fill(-1);
  readonly #bases = new Int32Array(MAX_CODE_BITS + 2);
  readonly #symbols: Uint16Array;
  /** symbol and length by the next bits; 0 where the code is longer */
  readonly #quick = new Uint16Array(1 << QUICK_BITS);

  constructor(bits: Bits, count: number) {
    const lengths = new Uint8Array(count);
    let length = bits.read(5);
    for (let i = 0; i < count; i++) {
      while (bits.read(1) === 1) length += bits.read(1) === 0 ? 1 : -1;
      if (length < 1 || length > MAX_CODE_BITS) throw new Damaged();
      lengths[i] = length;
    }
    this.#symbols = new Uint16Array(count);
    let code = 0;
    let at = 0;
    for (let size = 1; size <= MAX_CODE_BITS; size++) {
      this.#bases[size] = at - code;
      for (let i = 0; i < count; i++) {
        if (lengths[i] !== size) continue;
        this.#symbols[at++] = i;
        const room = QUICK_BITS - size;
        if (room >= 0) this.#quick.fill((i << 5) | size, code << room, (code + 1) << room);
        code++;
      }
      this.#limits[size] = code - 1;
      code <<= 1;
    }
  }

  next(bits: Bits): number {
    const quick = this.#quick[bits.peek(QUICK_BITS)] as number;
    if (quick !== 0) {
      bits.read(quick & 31);
      return quick >> 5;
    }
    let code = bits.read(QUICK_BITS);
    for (let size = QUICK_BITS; size <= MAX_CODE_BITS; size++) {
      if (code <= (this.#limits[size] as number)) {
        const symbol = this.#symbols[code + (this.#bases[size] as number)];
        if (symbol === undefined) break;
        return symbol;
      }
      code = (code << 1) | bits.read(1);
    }
    throw new Damaged();
  }
}

class Out {
  bytes = Buffer.alloc(64 * 1024);
  length = 0;
  #left: number;
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
    this.#left = most;
  }

  bunzipped(isWhole: boolean): Bunzipped {
    const spentBytes = Math.max(this.length, this.#most - this.#left);
    return { content: this.bytes.subarray(0, this.length), isWhole, spentBytes };
  }

  /** Whether there is room for a block of so many octets; a block or stream without text takes time as well. */
  spend(bytes: number): boolean {
    this.#left -= Math.max(bytes, LEAST_COST_BYTES);
    return this.#left >= 0;
  }

  /** Room for a run more; false at the bound. */
  grow(): boolean {
    const needed = this.length + MAX_RUN;
    if (needed > this.#most) return false;
    const larger = Buffer.alloc(Math.min(this.#most, 2 * needed));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
    return true;
  }
}

/** The highest bit first. Throws Damaged at the end. */
class Bits {
  readonly #bytes: Buffer;
  #at = 0;
  #value = 0;
  #count = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return (this.#bytes.length - this.#at) * 8 + this.#count;
  }

  align(): void {
    this.#count -= this.#count % 8;
  }

  /** Zeros behind the end. */
  peek(count: number): number {
    if (this.#count < count) {
      for (let i = 0; i < 2; i++) this.#value = (this.#value << 8) | (this.#bytes[this.#at++] ?? 0);
      this.#count += 16;
    }
    return (this.#value >>> (this.#count - count)) & ((1 << count) - 1);
  }

  /** Up to 32. */
  read(count: number): number {
    if (count > 24) return this.read(count - 16) * 0x10000 + this.read(16);
    while (this.#count < count) {
      this.#value = (this.#value << 8) | (this.#bytes[this.#at++] ?? 0);
      this.#count += 8;
    }
    this.#count -= count;
    if (this.left < 0) throw new Damaged();
    return (this.#value >>> this.#count) & ((1 << count) - 1);
  }
}
