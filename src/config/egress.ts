/** What the choice of `egress` asks of the machine. */
import type { Config } from './schema.ts';

/** Whether any host's own address is kept: then workers need CAP_NET_RAW, and the kernel rules for the way back. */
export function keepsSource({ network, subscriber }: Pick<Config, 'network' | 'subscriber'>): boolean {
  return [...network, ...subscriber].some(({ egress }) => egress === 'preserve');
}
