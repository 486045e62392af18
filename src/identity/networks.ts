/**
 * Which network a source belongs to: the longest prefix that holds its address.
 *
 * One hash map for each prefix length that occurs, asked from the longest to the shortest, so that a look-up costs the
 * number of lengths in use and not the number of prefixes.
 */
import type { Network } from '../config/schema.ts';
import { type Family, parseAddress } from '../kit/address.ts';

const WIDTH = { 4: 32n, 6: 128n } as const;

export class Networks {
  readonly #byLength: Readonly<Record<Family, { shift: bigint; map: Map<bigint, Network> }[]>> = { 4: [], 6: [] };

  constructor(networks: readonly Network[]) {
    for (const network of networks) {
      for (const { family, base, length } of network.prefixes) {
        const shift = WIDTH[family] - BigInt(length);
        const level = this.#byLength[family].find((one) => one.shift === shift);
        if (level) level.map.set(base >> shift, network);
        else this.#byLength[family].push({ shift, map: new Map([[base >> shift, network]]) });
      }
    }
    for (const levels of [this.#byLength[4], this.#byLength[6]]) levels.sort((a, b) => (a.shift < b.shift ? -1 : 1));
  }

  /** The network of an address in text; undefined when it is in none (or is no address). */
  find(addressText: string): Network | undefined {
    const address = parseAddress(addressText);
    if (!address) return undefined;
    for (const { shift, map } of this.#byLength[address.family]) {
      const network = map.get(address.value >> shift);
      if (network) return network;
    }
    return undefined;
  }
}
