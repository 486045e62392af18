/**
 * What is ours in the kernel is known by these names and numbers alone, so that it can be found again, repaired and
 * removed without a configuration.
 */
import type { Family } from '../kit/address.ts';
import { OWN_MARK_BITS } from '../kit/own-mark.ts';

export const FAMILIES = [4, 6] as const satisfies readonly Family[];

/**
 * Our four bits of the packet mark and of the connection mark; nobody else's bits are read or changed.
 *
 * `proxy`: goes to a worker. `letThrough`: goes on as if we were not there. `refuse`: goes to INPUT and is reset there;
 * only packets have it, a refused connection never gets as far as being tracked.
 * `own`: a worker's connection to a server, from a host's address.
 */
export const MARK = {
  proxy: '0x1000000/0xf000000',
  letThrough: '0x2000000/0xf000000',
  refuse: '0x3000000/0xf000000',
  own: `0x${OWN_MARK_BITS.toString(16)}/0xf000000`,
  none: '0x0/0xf000000',
} as const;

/** Every chain of ours begins so. A chain's name has at most 28 characters. */
export const CHAIN_PREFIX = 'POSTERN-';
/** of a network, or of a group of subscribers that are treated otherwise */
export const networkChain = (group: string): string => `${CHAIN_PREFIX}N-${group}`;
/** No network's name has a dot. */
export const groupId = (what: string): string => `.${hash(what)}`;

/** Every set of ours begins so. A set's name has at most 31 characters. */
export const SET_PREFIX = 'postern-';
export const SETS = {
  alive: `${SET_PREFIX}alive`,
  locked: (family: Family): string => `${SET_PREFIX}locked-${family}`,
  exemptTo: (family: Family): string => `${SET_PREFIX}exempt-to-${family}`,
  refusedPrefix: `${SET_PREFIX}refused-`,
  refused: (family: Family): string => `${SETS.refusedPrefix}${family}`,
  network: (group: string, family: Family): string => `${SET_PREFIX}net-${group}-${family}`,
  /** while a set is replaced */
  next: (name: string): string => `${SET_PREFIX}next-${hash(name)}`,
} as const;

/** The routing table that delivers every packet to this machine, and the mark on our routes and routing rules. */
export const ROUTE_TABLE = 25252;
export const ROUTE_PROTOCOL = 25;

/**
 * Preferences of our routing rules: behind the kernel's own table of local addresses (0), before every rule that could
 * send a packet out. Rules whose order matters have different ones, since a rule that is put back comes last among
 * its equals.
 */
export const PREFERENCE = { output: 25, local: 26, marks: 27, others: 28, open: 29, fence: 30, end: 31 } as const;

/** The comment of a rule that counts refusals; `-` is the network of what no network is asked for. */
export const refusalComment = (network: string, reason: string): string => `postern:${network}:${reason}`;
export const REFUSAL_COMMENT = /^postern:([a-z0-9-]+):([a-z-]+)$/;

/** FNV-1a: a set's name may be as long as names go, so the name of its successor cannot be made by adding to it. */
function hash(text: string): string {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return value.toString(16);
}
