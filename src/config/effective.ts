/** Which settings hold for a subscriber: its own where it has them, its network's otherwise. */
import type { Prefix } from '../kit/address.ts';
import type { Config, Network, Subscriber } from './schema.ts';

const OWN: ReadonlySet<string> = new Set(['name', 'prefixes', 'place']);

/** The network as it is for this subscriber; name and prefixes stay the network's. */
export function settingsOf(network: Network, subscriber: Subscriber): Network {
  const settings: Record<string, unknown> = { ...network };
  for (const [key, value] of Object.entries(subscriber)) if (!OWN.has(key)) settings[key] = value;
  return settings as Network;
}

/** The prefixes of `@SUBSCRIBER` or `tenant:NAME`; none when there is none of that name. */
export function prefixesOfName({ network, subscriber }: Config, name: string): readonly Prefix[] {
  if (name.startsWith('@')) return subscriber.find((one) => one.name === name.slice(1))?.prefixes ?? [];
  const tenant = name.replace(/^tenant:/, '');
  return [...network, ...subscriber].filter((one) => one.tenant === tenant).flatMap(({ prefixes }) => prefixes);
}
