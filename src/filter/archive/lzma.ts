/**
 * LZMA and LZMA2, for what 7z says of its files (LZMA specification, 7-Zip 9.20). The text goes into one buffer, which is
 * the dictionary as well. Throws LzmaFault on what is none.
 */
const STATES = 12;
const POSITIONS = 16;
const SPECIALS = 115;
const LENGTHS = 2 + 2 * POSITIONS * 8 + 256;
/** Where each table of probabilities begins. */
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POSITIONS;
const IS_REP_0 = IS_REP + STATES;
const IS_REP_1 = IS_REP_0 + STATES;
const IS_REP_2 = IS_REP_1 + STATES;
const IS_REP_0_LONG = IS_REP_2 + STATES;
const SLOTS = IS_REP_0_LONG + STATES * POSITIONS;
const SPECIAL = SLOTS + 4 * 64;
const ALIGN = SPECIAL + SPECIALS;
const LENGTH = ALIGN + 16;
const REP_LENGTH = LENGTH + LENGTHS;
const LITERALS = REP_LENGTH + LENGTHS;
const EVEN = 1024;

export class LzmaFault extends Error {}

/** `properties` as 7z has them: one octet, then the size of the dictionary. */
export function unLzma(packed: Buffer, properties: Buffer, sizeBytes: number): Buffer {
  const decoder = new Decoder(packed, sizeBytes);
  decoder.configure(properties[0] ?? 255);
  decoder.begin(0);
  decoder.run(sizeBytes);
  return decoder.out;
}

export function unLzma2(packed: Buffer, sizeBytes: number): Buffer {
  const decoder = new Decoder(packed, sizeBytes);
  for (let at = 0; decoder.length < sizeBytes; ) {
    const control = packed[at] ?? 0;
    if (at + 4 > packed.length || control === 0 || (control > 2 && control < 0x80)) throw new LzmaFault('control');
    const chunkBytes = packed.readUInt16BE(at + 1) + 1;
    if (control <= 2) {
      decoder.copy(packed.subarray(at + 3, at + 3 + chunkBytes));
      at += 3 + chunkBytes;
      continue;
    }
    if (at + 6 > packed.length) throw new LzmaFault('end');
    const plainBytes = ((control & 0x1f) << 16) + chunkBytes;
    const packedBytes = packed.readUInt16BE(at + 3) + 1;
    at += 5;
    if (control >= 0xc0) decoder.configure(packed[at++] ?? 255);
    else if (control >= 0xa0) decoder.reset();
    decoder.begin(at);
    decoder.run(Math.min(sizeBytes, decoder.length + plainBytes));
    at += packedBytes;
  }
  return decoder.out;
}

class Decoder {
  readonly out: Buffer;
  length = 0;
  readonly #in: Buffer;
  #at = 0;
  #range = 0;
  #code = 0;
  #probabilities = new Uint16Array(0);
  #state = 0;
  #reps: [number, number, number, number] = [0, 0, 0, 0];
  #contextBits = 0;
  #positionMask = 0;
  #literalMask = 0;

  constructor(packed: Buffer, sizeBytes: number) {
    this.#in = packed;
    this.out = Buffer.alloc(sizeBytes);
  }

  configure(properties: number): void {
    const rest = Math.floor(properties / 9);
    const [contextBits, literalBits] = [properties % 9, rest % 5];
    // LZMA2 allows no more, and no program packs a header with more: the tables would be large.
    if (properties >= 9 * 5 * 5 || contextBits + literalBits > 4) throw new LzmaFault('properties');
    this.#contextBits = contextBits;
    this.#literalMask = (1 << literalBits) - 1;
    this.#positionMask = (1 << Math.floor(rest / 5)) - 1;
    this.#probabilities = new Uint16Array(LITERALS + (0x300 << (contextBits + literalBits)));
    this.reset();
  }

  reset(): void {
    this.#probabilities.fill(EVEN);
    this.#state = 0;
    this.#reps = [0, 0, 0, 0];
  }

  begin(at: number): void {
    if (at + 5 > this.#in.length) throw new LzmaFault('end');
    this.#range = 0xffffffff;
    this.#code = this.#in.readUInt32BE(at + 1);
    this.#at = at + 5;
  }

  copy(plain: Buffer): void {
    this.length += plain.copy(this.out, this.length);
  }

  /** Until the text has this length. */
  run(until: number): void {
    if (this.#probabilities.length === 0) throw new LzmaFault('no properties');
    while (this.length < until) {
      const position = this.length & this.#positionMask;
      if (this.#bit(IS_MATCH + this.#state * POSITIONS + position) === 0) this.#literal();
      else this.#repeat(this.#match(position), until);
    }
  }

  #literal(): void {
    const { out, length } = this;
    const before = length > 0 ? (out[length - 1] as number) : 0;
    const context = ((length & this.#literalMask) << this.#contextBits) + (before >> (8 - this.#contextBits));
    const base = LITERALS + 0x300 * context;
    let symbol = 1;
    if (this.#state >= 7) {
      let like = this.#back();
      for (let offset = 0x100; symbol < 0x100; ) {
        like <<= 1;
        const side = like & offset;
        const bit = this.#bit(base + offset + side + symbol);
        symbol = (symbol << 1) | bit;
        offset &= bit === 1 ? side : ~side;
      }
    } else while (symbol < 0x100) symbol = (symbol << 1) | this.#bit(base + symbol);
    out[this.length++] = symbol & 0xff;
    this.#state = this.#state < 4 ? 0 : this.#state - (this.#state < 10 ? 3 : 6);
  }

  /** The length of what is repeated, from the first of the distances. */
  #match(position: number): number {
    const state = this.#state;
    const [first, second, third, fourth] = this.#reps;
    if (this.#bit(IS_REP + state) === 0) {
      const length = this.#lengthOf(LENGTH, position);
      this.#state = state < 7 ? 7 : 10;
      this.#reps = [this.#distance(length), first, second, third];
      return length;
    }
    if (this.#bit(IS_REP_0 + state) === 0) {
      if (this.#bit(IS_REP_0_LONG + state * POSITIONS + position) === 0) {
        this.#state = state < 7 ? 9 : 11;
        return 1;
      }
    } else if (this.#bit(IS_REP_1 + state) === 0) this.#reps = [second, first, third, fourth];
    else if (this.#bit(IS_REP_2 + state) === 0) this.#reps = [third, first, second, fourth];
    else this.#reps = [fourth, first, second, third];
    this.#state = state < 7 ? 8 : 11;
    return this.#lengthOf(REP_LENGTH, position);
  }

  #repeat(count: number, until: number): void {
    const { out } = this;
    const end = Math.min(until, this.length + count);
    const back = this.#reps[0] + 1;
    if (back > this.length) throw new LzmaFault('distance');
    while (this.length < end) {
      out[this.length] = out[this.length - back] as number;
      this.length++;
    }
  }

  #back(): number {
    const at = this.length - this.#reps[0] - 1;
    if (at < 0) throw new LzmaFault('distance');
    return this.out[at] as number;
  }

  #lengthOf(base: number, position: number): number {
    if (this.#bit(base) === 0) return 2 + this.#tree(base + 2 + position * 8, 3);
    if (this.#bit(base + 1) === 0) return 10 + this.#tree(base + 2 + (POSITIONS + position) * 8, 3);
    return 18 + this.#tree(base + 2 + 2 * POSITIONS * 8, 8);
  }

  #distance(length: number): number {
    const slot = this.#tree(SLOTS + Math.min(length - 2, 3) * 64, 6);
    if (slot < 4) return slot;
    const bits = (slot >> 1) - 1;
    const high = (2 | (slot & 1)) * 2 ** bits;
    if (slot < 14) return high + this.#reverse(SPECIAL + high - slot, bits);
    return high + this.#plain(bits - 4) * 16 + this.#reverse(ALIGN, 4);
  }

  #tree(base: number, bits: number): number {
    let symbol = 1;
    for (let i = 0; i < bits; i++) symbol = (symbol << 1) | this.#bit(base + symbol);
    return symbol - (1 << bits);
  }

  #reverse(base: number, bits: number): number {
    let symbol = 1;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const bit = this.#bit(base + symbol);
      symbol = (symbol << 1) | bit;
      value |= bit << i;
    }
    return value;
  }

  /** Bits without a probability. */
  #plain(bits: number): number {
    let value = 0;
    for (let i = 0; i < bits; i++) {
      this.#range >>>= 1;
      const bit = this.#code >= this.#range ? 1 : 0;
      if (bit === 1) this.#code -= this.#range;
      value = value * 2 + bit;
      this.#fill();
    }
    return value;
  }

  #bit(at: number): 0 | 1 {
    const probability = this.#probabilities[at] as number;
    const bound = (this.#range >>> 11) * probability;
    const isZero = this.#code < bound;
    if (isZero) this.#range = bound;
    else {
      this.#range -= bound;
      this.#code -= bound;
    }
    this.#probabilities[at] = isZero ? probability + ((2048 - probability) >> 5) : probability - (probability >> 5);
    this.#fill();
    return isZero ? 0 : 1;
  }

  #fill(): void {
    if (this.#range >= 0x1000000) return;
    if (this.#at >= this.#in.length) throw new LzmaFault('end');
    this.#range = (this.#range << 8) >>> 0;
    this.#code = ((this.#code << 8) | (this.#in[this.#at++] as number)) >>> 0;
  }
}
