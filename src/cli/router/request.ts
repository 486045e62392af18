/** What a router is asked to do, and how its text is put together. */
import type { Family } from '../../kit/address.ts';

export type Side = {
  readonly family: Family;
  /** of the configured networks; may be none */
  readonly prefixes: readonly string[];
  /** this machine, as the router reaches it; undefined only where there are no prefixes */
  readonly nextHop: string | undefined;
};

export type Request = {
  /** the router's interface to the hosts, in the router's own spelling */
  readonly interface: string;
  readonly sides: readonly [Side, Side];
};

export type Platform = {
  /** for the help: `Cisco IOS and IOS XE` */
  readonly title: string;
  /** how the platform marks a comment */
  readonly comment: string;
  /** what to look out for there, a line each */
  readonly notes: readonly string[];
  /** both families, without comments */
  readonly text: (request: Request) => readonly string[];
};

/** An IPv4 prefix's mask with its bits turned over: 198.51.100.0/25 is `198.51.100.0 0.0.0.127`. */
export function wildcard(prefix: string): string {
  const [base = '', length = '32'] = prefix.split('/');
  const mask = Number(length) === 0 ? 0xffffffff : 2 ** (32 - Number(length)) - 1;
  return `${base} ${[24, 16, 8, 0].map((shift) => (mask >>> shift) & 255).join('.')}`;
}
