/** What the choice of `egress` asks of the machine. */
import type { Config } from './schema.ts';

/** Whether any host's own address is kept: then workers need CAP_NET_RAW, and the kernel rules for the way back. */
export function keepsSource({ network, subscriber }: Pick<Config, 'network' | 'subscriber'>): boolean {
  return [...network, ...subscriber].some(({ egress }) => egress === 'preserve');
}

/** Why `next` cannot come by a reload where the workers were started for `first`; undefined when it can. */
export function egressNeedsRestart(first: Config, next: Config): string | undefined {
  // A worker that runs cannot be given a capability.
  return keepsSource(next) && !keepsSource(first)
    ? 'egress = "preserve": the first network or subscriber to have it needs a restart; nothing was reloaded'
    : undefined;
}
