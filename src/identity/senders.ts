/**
 * Whom an address belongs to, and which settings hold for it: the longest prefix of a subscriber or a network.
 *
 * Settings of a subscriber are put together when one of its hosts first connects: of 100,000 most never do.
 */
import { settingsOf } from '../config/effective.ts';
import type { Config, Network, Subscriber } from '../config/schema.ts';
import { sourceOf } from '../kit/address.ts';
import { PrefixMap } from '../kit/prefix-map.ts';
import { type Limits, limitsOf } from './limits.ts';

export type Sender = {
  /** the settings in force: the network's, with what the subscriber has otherwise */
  readonly network: Network;
  /** the configured one; undefined where an address (IPv6: a prefix) is its own subscriber */
  readonly subscriber: Subscriber | undefined;
  /** what is counted of it; undefined when nothing is */
  readonly limits: Limits | undefined;
};

export interface Senders {
  /** Undefined when the address is in no network. */
  find(address: string): Sender | undefined;
}

/** `config` is one that was checked: each subscriber lies in a network. */
export function sendersOf({ network, subscriber }: Pick<Config, 'network' | 'subscriber'>): Senders {
  const networks = new PrefixMap<Sender>(
    network.flatMap((one) => {
      const sender: Sender = { network: one, subscriber: undefined, limits: limitsOf(one) };
      return one.prefixes.map((prefix) => [prefix, sender] as const);
    }),
  );
  if (subscriber.length === 0) return networks;

  const subscribers = new PrefixMap<Subscriber>();
  for (const one of subscriber) for (const prefix of one.prefixes) subscribers.set(prefix, one);
  const resolved = new Map<Subscriber, Sender>();
  return {
    find(address) {
      const found = subscribers.find(address);
      if (!found) return networks.find(address);
      let sender = resolved.get(found);
      if (!sender) {
        const settings = settingsOf((networks.find(address) as Sender).network, found);
        resolved.set(found, (sender = { network: settings, subscriber: found, limits: limitsOf(settings) }));
      }
      return sender;
    },
  };
}

/** Whom counts and limits are kept for: `@web-17`, `192.0.2.1`, `2001:db8:1:2::/64`. No address has an "@". */
export function subjectOf({ network, subscriber }: Sender, address: string): string {
  return subscriber ? `@${subscriber.name}` : sourceOf(address, network.ipv6Prefix);
}
