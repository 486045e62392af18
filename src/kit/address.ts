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
const NINE = 57;
const COLON = 58;
const A = 97;

/** Four numbers with dots, as isIPv4 takes them. */
function parse4(text: string, from = 0): number {
  let value = 0;
  let octet = 0;
  for (let i = from; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === DOT) {
      value = value * 256 + octet;
      octet = 0;
    } else octet = octet * 10 + c - ZERO;
  }
  return value * 256 + octet;
}

const octets = new DataView(new ArrayBuffer(16));

/** As isIPv6 takes it, into `octets`. */
function parse6(text: string): void {
  octets.setBigUint64(0, 0n);
  octets.setBigUint64(8, 0n);
  let at = 0;
  /** where the groups behind "::" begin; they are moved to the end when all are read */
  let gap = -1;
  let group = 0;
  let digits = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === COLON) {
      if (digits > 0) {
        octets.setUint16(at, group);
        at += 2;
      } else if (i > 0) gap = at;
      group = 0;
      digits = 0;
      start = i + 1;
    } else if (c === DOT) {
      octets.setUint32(at, parse4(text, start));
      at += 4;
      digits = 0;
      break;
    } else {
      group = (group << 4) | (c <= NINE ? c - ZERO : (c | 0x20) - A + 10);
      digits++;
    }
  }
  if (digits > 0) {
    octets.setUint16(at, group);
    at += 2;
  }
  if (gap < 0) return;
  for (let from = at - 2, to = 14; from >= gap; from -= 2, to -= 2) {
    octets.setUint16(to, octets.getUint16(from));
    if (to !== from) octets.setUint16(from, 0);
  }
}

function format(family: Family, value: bigint): string {
  if (family === 4) {
    const n = Number(value);
    return `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
  }
  octets.setBigUint64(0, value >> 64n);
  octets.setBigUint64(8, value & 0xffffffffffffffffn);
  return format6(Array.from({ length: 8 }, (_, i) => octets.getUint16(2 * i)));
}

/** The four 32-bit words of an address into `words`, IPv4 in the first of them; 0 when the text is none. */
export function parseWords(text: string, words: Uint32Array): Family | 0 {
  if (isIPv4(text)) {
    words[0] = parse4(text);
    return 4;
  }
  if (!isIPv6(text) || text.includes('%')) return 0;
  parse6(text);
  const [a, b, c, d] = [octets.getUint32(0), octets.getUint32(4), octets.getUint32(8), octets.getUint32(12)];
  if (a === 0 && b === 0 && c === 0xffff) {
    words[0] = d;
    return 4;
  }
  words[0] = a;
  words[1] = b;
  words[2] = c;
  words[3] = d;
  return 6;
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
export function canonicalOf(address: Uint8Array): string {
  const groups = Array.from(
    { length: 8 },
    (_, i) => ((address[2 * i] as number) << 8) | (address[2 * i + 1] as number),
  );
  const isMapped = groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0);
  return isMapped ? address.subarray(12).join('.') : format6(groups);
}

/** An address as number and family; undefined when the text is none (zones such as `%eth0` are none). */
export function parseAddress(text: string): { family: Family; value: bigint } | undefined {
  if (isIPv4(text)) return { family: 4, value: BigInt(parse4(text)) };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  parse6(text);
  const high = octets.getBigUint64(0);
  const low = octets.getBigUint64(8);
  return high === 0n && low >> 32n === 0xffffn
    ? { family: 4, value: low & 0xffffffffn }
    : { family: 6, value: (high << 64n) | low };
}

/** The one spelling of an address (RFC 5952; IPv4-mapped becomes IPv4); undefined when the text is none. */
export function canonical(text: string): string | undefined {
  // isIPv4 takes no other spelling than the canonical one.
  if (isIPv4(text)) return text;
  const address = parseAddress(text);
  return address && format(address.family, address.value);
}

/** Spelled when it is asked for: of 100,000 prefixes few are ever shown. */
class PrefixOf implements Prefix {
  readonly family: Family;
  readonly base: bigint;
  readonly length: number;

  constructor(family: Family, base: bigint, length: number) {
    this.family = family;
    this.base = base;
    this.length = length;
  }

  get text(): string {
    return `${format(this.family, this.base)}/${this.length}`;
  }
}

function makePrefix(family: Family, value: bigint, length: number): Prefix {
  const shift = BigInt(WIDTH[family] - length);
  const base = (value >> shift) << shift;
  return new PrefixOf(family, base, length);
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

/** The prefix of an IPv6 address with this length; of an IPv4 address, its /32. Undefined when the text is no address. */
export function prefixOf(text: string, ipv6Length: number): Prefix | undefined {
  const address = parseAddress(text);
  return address && makePrefix(address.family, address.value, address.family === 4 ? 32 : ipv6Length);
}

/**
 * Whom limits and locks count: an IPv4 address itself, an IPv6 address as its /64 (or a shorter prefix), since one host
 * has a whole /64 to choose from. `192.0.2.1`, `2001:db8:1:2::/64`. An address that cannot be read is its own source.
 */
export function sourceOf(text: string, ipv6Length = 64): string {
  if (isIPv4(text)) return text;
  const address = parseAddress(text);
  if (!address) return text;
  return address.family === 4 ? format(4, address.value) : makePrefix(6, address.value, ipv6Length).text;
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
