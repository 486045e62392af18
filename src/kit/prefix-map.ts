/**
 * Values by prefix, found by address from the longest prefix to the shortest.
 *
 * One table for each prefix length in use: a look-up costs the number of lengths and not the number of prefixes, and
 * makes no object.
 */
import { type Family, type Prefix, parseWords } from './address.ts';

export class PrefixMap<T> {
  readonly #levels: Readonly<Record<Family, Level<T>[]>> = { 4: [], 6: [] };
  readonly #words = new Uint32Array(4);
  #size = 0;

  /** For one prefix twice the later value counts. */
  constructor(entries: Iterable<readonly [Prefix, T]> = []) {
    for (const [prefix, value] of entries) this.set(prefix, value);
  }

  /** The value of this very prefix from now on; returns the one before. */
  set(prefix: Prefix, value: T): T | undefined {
    const levels = this.#levels[prefix.family];
    let level = levels.find((one) => one.length === prefix.length);
    if (!level) {
      levels.push((level = new Level(prefix.length)));
      levels.sort((a, b) => b.length - a.length);
    }
    const words = this.#wordsOf(prefix);
    const before = level.get(words);
    level.set(words, value);
    if (before === undefined) this.#size++;
    return before;
  }

  /** The value of the longest prefix that has the address (in text) and whose value is accepted. */
  find(text: string, accept?: (value: T) => boolean): T | undefined {
    if (this.#size === 0) return undefined;
    const family = parseWords(text, this.#words);
    if (family === 0) return undefined;
    const levels = this.#levels[family];
    for (let i = 0; i < levels.length; i++) {
      const value = (levels[i] as Level<T>).get(this.#words);
      if (value !== undefined && (accept === undefined || accept(value))) return value;
    }
    return undefined;
  }

  /** The value of the longest prefix that this one lies in; `shorter`: itself left out. */
  around(prefix: Prefix, { shorter = false } = {}): T | undefined {
    const words = this.#wordsOf(prefix);
    for (const level of this.#levels[prefix.family]) {
      if (level.length > prefix.length || (shorter && level.length === prefix.length)) continue;
      const value = level.get(words);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  #wordsOf({ family, base }: Prefix): Uint32Array {
    const words = this.#words;
    if (family === 4) words[0] = Number(base);
    else {
      octets.setBigUint64(0, base >> 64n);
      octets.setBigUint64(8, base);
      for (let i = 0; i < 4; i++) words[i] = octets.getUint32(4 * i);
    }
    return words;
  }
}

const octets = new DataView(new ArrayBuffer(16));

/** All prefixes of one length: open addressing, four words for each key; those behind the length are zero. */
class Level<T> {
  readonly length: number;
  readonly #masks: readonly [number, number, number, number];
  #keys = new Uint32Array(4 * 16);
  #values: (T | undefined)[] = new Array(16);
  #count = 0;

  constructor(length: number) {
    this.length = length;
    const mask = (from: number): number =>
      length >= from + 32 ? 0xffffffff : length <= from ? 0 : (0xffffffff << (32 - (length - from))) >>> 0;
    this.#masks = [mask(0), mask(32), mask(64), mask(96)];
  }

  get(words: Uint32Array): T | undefined {
    return this.#values[this.#slot(words)];
  }

  set(words: Uint32Array, value: T): void {
    let slot = this.#slot(words);
    if (this.#values[slot] === undefined && ++this.#count * 2 > this.#values.length) {
      this.#grow();
      slot = this.#slot(words);
    }
    this.#values[slot] = value;
    for (let i = 0; i < this.#words; i++)
      this.#keys[4 * slot + i] = ((words[i] as number) & (this.#masks[i] as number)) >>> 0;
  }

  /** Words that the length reaches into: of IPv4 only the first is set. */
  get #words(): number {
    return Math.ceil(this.length / 32);
  }

  /** Where the key is, or where it would be put. */
  #slot(words: Uint32Array): number {
    const keys = this.#keys;
    const last = this.#values.length - 1;
    const count = this.#words;
    let hash = 0;
    for (let i = 0; i < count; i++) {
      hash = Math.imul(hash ^ ((words[i] as number) & (this.#masks[i] as number)), 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    search: for (let slot = hash & last; ; slot = (slot + 1) & last) {
      if (this.#values[slot] === undefined) return slot;
      for (let i = 0; i < count; i++)
        if (keys[4 * slot + i] !== ((words[i] as number) & (this.#masks[i] as number)) >>> 0) continue search;
      return slot;
    }
  }

  #grow(): void {
    const [keys, values] = [this.#keys, this.#values];
    this.#keys = new Uint32Array(2 * keys.length);
    this.#values = new Array(2 * values.length);
    for (let old = 0; old < values.length; old++) {
      const value = values[old];
      if (value === undefined) continue;
      const words = keys.subarray(4 * old, 4 * old + 4);
      const slot = this.#slot(words);
      this.#keys.set(words, 4 * slot);
      this.#values[slot] = value;
    }
  }
}
