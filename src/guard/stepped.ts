/** The networks and subscribers of a configuration with the modes of steps on the ladder: what `groupsOf` makes sets from. */
import type { Config } from '../config/schema.ts';
import { parsePrefix, type Prefix, sourceOf } from '../kit/address.ts';
import { PrefixMap } from '../kit/prefix-map.ts';
import type { Step } from '../ledger/language.ts';
import { holds } from '../ledger/register.ts';
import { networkSubject } from '../ledger/steptable.ts';

/** A step of somebody who is not there (any more) changes nothing. */
export function withSteps(config: Config, all: readonly Step[], nowMs: number): Config {
  const steps = new Map(all.filter((step) => holds(step, nowMs)).map((step) => [step.subject, step.mode]));
  if (steps.size === 0) return config;
  const network = config.network.map((one) => {
    const mode = steps.get(networkSubject(one.name));
    return mode === undefined ? one : { ...one, mode };
  });
  const subscriber = config.subscriber.map((one) => {
    const mode = steps.get(`@${one.name}`);
    return mode === undefined ? one : { ...one, mode };
  });
  const around = new PrefixMap(network.flatMap((one) => one.prefixes.map((prefix) => [prefix, one] as const)));
  const owners = new PrefixMap(subscriber.flatMap((one) => one.prefixes.map((prefix) => [prefix, one] as const)));
  for (const [subject, mode] of steps) {
    const prefix = hostPrefix(subject);
    const inside = prefix && around.around(prefix);
    // Whose addresses they are decides: one that has a subscriber, or another length of prefix, is not counted under this name.
    const isCounted = inside && !owners.around(prefix) && sourceOf(addressIn(prefix), inside.ipv6Prefix) === subject;
    if (isCounted) subscriber.push({ name: subject, prefixes: [prefix], mode, place: { file: '', line: 0 } });
  }
  return { ...config, network, subscriber };
}

/** `198.51.100.7` or `2001:db8:1:2::/64` */
function hostPrefix(subject: string): Prefix | undefined {
  return /^(?:@|network:)/.test(subject) ? undefined : parsePrefix(subject);
}

function addressIn({ text }: Prefix): string {
  return text.slice(0, text.indexOf('/'));
}
