/** Which settings hold for a subscriber: its own where it has them, its network's otherwise. */
import type { Network, Subscriber } from './schema.ts';

const OWN: ReadonlySet<string> = new Set(['name', 'prefixes', 'place']);

/** The network as it is for this subscriber; name and prefixes stay the network's. */
export function settingsOf(network: Network, subscriber: Subscriber): Network {
  const settings: Record<string, unknown> = { ...network };
  for (const [key, value] of Object.entries(subscriber)) if (!OWN.has(key)) settings[key] = value;
  return settings as Network;
}
