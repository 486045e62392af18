/**
 * Values by prefix, found by address from the longest prefix to the shortest.
 *
 * One hash map for each prefix length in use: a look-up costs the number of lengths and not the number of prefixes.
 */
import { type Family, type Prefix, parseAddress } from './address.ts';

const WIDTH = { 4: 32n, 6: 128n } as const;

type Level<T> = { readonly shift: bigint; readonly map: Map<bigint, T> };

export class PrefixMap<T> {
  readonly #levels: Readonly<Record<Family, Level<T>[]>> = { 4: [], 6: [] };
  #size = 0;

  /** For one prefix twice the later value counts. */
  constructor(entries: Iterable<readonly [Prefix, T]>) {
    for (const [{ family, base, length }, value] of entries) {
      const shift = WIDTH[family] - BigInt(length);
      let level = this.#levels[family].find((one) => one.shift === shift);
      if (!level) {
        level = { shift, map: new Map() };
        this.#levels[family].push(level);
      }
      level.map.set(base >> shift, value);
      this.#size++;
    }
    for (const family of [4, 6] as const) this.#levels[family].sort((a, b) => (a.shift < b.shift ? -1 : 1));
  }

  /** The value of the longest prefix that has the address (in text) and whose value is accepted. */
  find(text: string, accept: (value: T) => boolean = () => true): T | undefined {
    if (this.#size === 0) return undefined;
    const address = parseAddress(text);
    if (!address) return undefined;
    for (const { shift, map } of this.#levels[address.family]) {
      const value = map.get(address.value >> shift);
      if (value !== undefined && accept(value)) return value;
    }
    return undefined;
  }
}
