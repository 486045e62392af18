/** Destinations that nobody's connections are intercepted to, each until its end. */
import type { Config } from '../config/schema.ts';
import type { Prefix } from '../kit/address.ts';

export function exemptPrefixes({ exemptTo }: Pick<Config, 'exemptTo'>): Prefix[] {
  return exemptTo.flatMap(({ prefixes }) => prefixes);
}

/** The configuration without those that have ended: the same object when none has. */
export function withoutEnded(config: Config, nowMs: number): Config {
  const exemptTo = config.exemptTo.filter(({ until }) => until === undefined || nowMs < until);
  return exemptTo.length === config.exemptTo.length ? config : { ...config, exemptTo };
}
