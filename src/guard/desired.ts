/** What the kernel shall hold, as data. */
import type { Family, Prefix } from '../kit/address.ts';

export type Chain = {
  readonly name: string;
  /** what it is for, as a comment in the text */
  readonly about: string;
  /** each in the very spelling of iptables-save, without `-A NAME` */
  readonly rules: readonly string[];
};

export type Table = {
  readonly name: 'mangle' | 'filter';
  /** rules that stand first, and in this order, in the kernel's own chains */
  readonly jumps: readonly { readonly from: string; readonly rules: readonly string[] }[];
  readonly chains: readonly Chain[];
};

export type IpSet = {
  readonly name: string;
  /** type and options in the spelling of `ipset save`, without hashsize and what the kernel adds */
  readonly type: string;
  /** canonical prefixes, ` nomatch` behind those that are exceptions; undefined when the members come and go while we run */
  readonly members: readonly string[] | undefined;
};

export type Sysctl = { readonly key: string; readonly value: string };

export type FamilyState = {
  readonly tables: readonly Table[];
  /** routing rules in the words of `ip rule add`, without `protocol` */
  readonly rules: readonly string[];
  /** what ROUTE_TABLE holds, in the words of `ip route replace`, without table and protocol */
  readonly routes: readonly string[];
};

export type DesiredState = {
  readonly sysctls: readonly Sysctl[];
  readonly families: Readonly<Record<Family, FamilyState>>;
  readonly sets: readonly IpSet[];
  /** set when all else stands: nothing is forwarded before it is guarded */
  readonly forwarding: readonly Sysctl[];
};

/** Prefixes of one family as a set of type hash:net takes them: it knows no /0, which is therefore given in halves. */
export function setMembers(prefixes: readonly Prefix[], family: Family): string[] {
  const halves = family === 4 ? ['0.0.0.0/1', '128.0.0.0/1'] : ['::/1', '8000::/1'];
  return prefixes
    .filter((prefix) => prefix.family === family)
    .flatMap((prefix) => (prefix.length === 0 ? halves : [prefix.text]));
}
