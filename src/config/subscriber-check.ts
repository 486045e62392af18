/** What must hold of all subscribers together, from whichever file: one pass, whatever their number. */
import { PrefixMap } from '../kit/prefix-map.ts';
import { hasDay, NEEDS_DAY } from './quota-check.ts';
import { type ConfigError, configError, shownValue } from './error.ts';
import type { Config, Network, Subscriber } from './schema.ts';

const MAX_ERRORS = 500;

/** One sentence each for docs/config.md. */
export const subscriberDocs: readonly string[] = [
  'Each `subscriber` has a name of its own, in whichever file it stands.',
  'No prefix belongs to two subscribers; one may lie in another.',
  'Each prefix of a subscriber lies in a prefix of one network, and all of its prefixes in the same network.',
];

/** Everything that is wrong, at most 500. */
export function checkSubscribers(
  subscribers: readonly Subscriber[],
  { network: networks, smarthost }: Pick<Config, 'network' | 'smarthost'>,
): ConfigError[] {
  const errors: ConfigError[] = [];
  const inNetwork = new PrefixMap(
    networks.flatMap((network) => network.prefixes.map((one) => [one, network] as const)),
  );
  const names = new Set<string>();
  const owners = new PrefixMap<Subscriber>();
  for (const subscriber of subscribers) {
    const refuse = (key: string, value: string, expected: string): void => {
      const { file, line, keyLine } = subscriber.place;
      const at = keyLine?.(key) ?? line;
      if (errors.length < MAX_ERRORS)
        errors.push(configError({ file, line: at, key, value: shownValue(key, value), expected }));
    };
    const { name } = subscriber;
    if (names.has(name)) {
      const first = subscribers.find((one) => one.name === name) as Subscriber;
      refuse('name', name, `a name of its own, unlike ${where(first)}`);
    }
    names.add(name);
    if (subscriber.egress === 'smarthost' && smarthost.servers.length === 0)
      refuse('egress', subscriber.egress, '"preserve": smarthost.servers has none');

    let network: Pick<Network, 'name' | 'quota' | 'limitRecipients'> | undefined;
    for (const prefix of subscriber.prefixes) {
      const owner = owners.set(prefix, subscriber);
      if (owner)
        refuse('prefixes', prefix.text, `a prefix of its own; subscriber "${owner.name}" has it, ${where(owner)}`);
      const around = inNetwork.around(prefix);
      if (!around) refuse('prefixes', prefix.text, 'a prefix that lies in one of a network');
      else if (network && network !== around)
        refuse(
          'prefixes',
          prefix.text,
          `a prefix in network "${network.name}" like the one before; it is in "${around.name}"`,
        );
      network ??= around;
    }
    const { quota = network?.quota, limitRecipients = network?.limitRecipients ?? [] } = subscriber;
    const isOwn = subscriber.quota !== undefined || subscriber.limitRecipients !== undefined;
    if (isOwn && quota === 'earned' && !hasDay(limitRecipients)) refuse('quota', quota, NEEDS_DAY);
  }
  return errors;
}

function where({ place: { file, line } }: Subscriber): string {
  return `${file}:${line}`;
}
