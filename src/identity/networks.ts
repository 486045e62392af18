/** Which network a source belongs to: the longest prefix that has its address. */
import type { Network } from '../config/schema.ts';
import { PrefixMap } from '../kit/prefix-map.ts';

/** `find(address)`: the network, or undefined when the address is in none. */
export function networksOf(networks: readonly Network[]): PrefixMap<Network> {
  return new PrefixMap(networks.flatMap((network) => network.prefixes.map((prefix) => [prefix, network] as const)));
}
