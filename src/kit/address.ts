/**
 * IP addresses and prefixes, one canonical spelling each.
 *
 * Whatever decides by address (networks, locks, limits, kernel sets) compares these spellings, so an IPv4 address
 * that arrives as `::ffff:192.0.2.1` and the plain one are the same here.
 */
import { isIPv4, isIPv6 } from 'node:net';

export type Family = 4 | 6;

export type Prefix = {
  readonly family: Family;
  /** the first address of the prefix, host bits cleared */
  readonly base: bigint;
  readonly length: number;
  /** canonical text, always with its length: `192.0.2.0/24`, `2001:db8::/32` */
  readonly text: string;
};

const WIDTH = { 4: 32, 6: 128 } as const;
const DOT = 46;
const ZERO = 48;

/** Four numbers with dots, as isIPv4 takes them. */
function parse4(text: string): bigint {
  let value = 0;
  let octet = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === DOT) {
      value = value * 256 + octet;
      octet = 0;
    } else octet = octet * 10 + c - ZERO;
  }
  return BigInt(value * 256 + octet);
}

function parse6(text: string): bigint {
  let rest = text;
  const dot = rest.lastIndexOf(':');
  if (rest.includes('.')) {
    const v4 = parse4(rest.slice(dot + 1));
    rest = `${rest.slice(0, dot)}:${(v4 >> 16n).toString(16)}:${(v4 & 0xffffn).toString(16)}`;
  }
  const [head, tail] = rest.split('::') as [string, string | undefined];
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups =
    tail === undefined ? left : [...left, ...new Array<string>(8 - left.length - right.length).fill('0'), ...right];
  let value = 0n;
  for (const group of groups) value = (value << 16n) | BigInt(`0x${group}`);
  return value;
}

function format(family: Family, value: bigint): string {
  if (family === 4) {
    return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join('.');
  }
  return format6(Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn)));
}

/** RFC 5952 section 4: the longest run of zeroes is left out, the first of several. */
function format6(groups: readonly number[]): string {
  let bestAt = -1;
  let bestLength = 1;
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0) length++;
    if (length > bestLength) {
      bestAt = at;
      bestLength = length;
    }
  }
  const hex = (list: readonly number[]): string => list.map((g) => g.toString(16)).join(':');
  return bestAt < 0 ? hex(groups) : `${hex(groups.slice(0, bestAt))}::${hex(groups.slice(bestAt + bestLength))}`;
}

/** The one spelling of an IPv6 address in 16 octets, network order; IPv4-mapped becomes IPv4. */
export function canonicalOf(octets: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((octets[2 * i] as number) << 8) | (octets[2 * i + 1] as number));
  const isMapped = groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0);
  return isMapped ? octets.subarray(12).join('.') : format6(groups);
}

const MAPPED = 0xffffn << 32n;

/** An address as number and family; undefined when the text is none (zones such as `%eth0` are none). */
export function parseAddress(text: string): { family: Family; value: bigint } | undefined {
  if (isIPv4(text)) return { family: 4, value: parse4(text) };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const value = parse6(text);
  return value >> 32n === MAPPED >> 32n ? { family: 4, value: value & 0xffffffffn } : { family: 6, value };
}

/** The one spelling of an address (RFC 5952; IPv4-mapped becomes IPv4); undefined when the text is none. */
export function canonical(text: string): string | undefined {
  // isIPv4 takes no other spelling than the canonical one.
  if (isIPv4(text)) return text;
  const address = parseAddress(text);
  return address && format(address.family, address.value);
}

function makePrefix(family: Family, value: bigint, length: number): Prefix {
  const shift = BigInt(WIDTH[family] - length);
  const base = (value >> shift) << shift;
  return { family, base, length, text: `${format(family, base)}/${length}` };
}

/**
 * A prefix from `ADDRESS/LENGTH`, or an address alone as its /32 or /128. Undefined when it is none, or when host bits
 * are set (`192.0.2.1/24`): that is nearly always a slip, and guessing which half is meant would intercept the wrong hosts.
 * The length of an IPv4-mapped prefix counts in IPv6 bits: `::ffff:192.0.2.0/120` is `192.0.2.0/24`.
 */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (!address) return undefined;
  const width = WIDTH[address.family];
  const digits = slash < 0 ? String(width) : text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  const isMapped = slash >= 0 && address.family === 4 && text.includes(':');
  const length = Number(digits) - (isMapped ? 96 : 0);
  if (length < 0 || length > width) return undefined;
  const prefix = makePrefix(address.family, address.value, length);
  return prefix.base === address.value ? prefix : undefined;
}

export function contains(prefix: Prefix, address: { family: Family; value: bigint }): boolean {
  const shift = BigInt(WIDTH[prefix.family] - prefix.length);
  return prefix.family === address.family && address.value >> shift === prefix.base >> shift;
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  const [wide, narrow] = a.length <= b.length ? [a, b] : [b, a];
  return contains(wide, { family: narrow.family, value: narrow.base });
}

/**
 * Whom limits and locks count: an IPv4 address itself, an IPv6 address as its /64, since one host has a whole /64 to
 * choose from. `192.0.2.1`, `2001:db8:1:2::/64`. An address that cannot be read is its own source.
 */
export function sourceOf(text: string): string {
  if (isIPv4(text)) return text;
  const address = parseAddress(text);
  if (!address) return text;
  return address.family === 4 ? format(4, address.value) : makePrefix(6, address.value, 64).text;
}

/** Loopback, RFC 1918, link-local, unique local: where a clear-text smarthost link may be (still by choice). */
export function isPrivate(text: string): boolean {
  const address = parseAddress(text);
  return address !== undefined && PRIVATE.some((prefix) => contains(prefix, address));
}

const PRIVATE = [
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  '::1',
  'fc00::/7',
  'fe80::/10',
].map((text) => parsePrefix(text) as Prefix);
