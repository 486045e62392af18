/** Prefixes, names of hosts and interfaces, and servers. */
import { isIPv4, isIPv6 } from 'node:net';
import { canonical, parsePrefix, type Prefix, prefixOf } from '../../kit/address.ts';
import { type Field, field, type Spec } from '../field.ts';
import { text } from './plain.ts';

export function prefix(spec: Spec): Field<Prefix> {
  const type = 'a prefix such as "198.51.100.0/24" or "2001:db8:1::/48", without host bits';
  return field(
    type,
    (raw) => {
      const value = typeof raw === 'string' ? parsePrefix(raw) : undefined;
      return value ? { value } : { expected: type };
    },
    spec,
  );
}

/** A subscriber's: an IPv4 address alone is its /32, an IPv6 address its /64, since one host has a whole /64 to choose from. */
export function subscriberPrefix(spec: Spec): Field<Prefix> {
  const type =
    'an IPv4 address or prefix, or an IPv6 prefix of at most 64 bits; an IPv6 address alone is its /64; without host bits';
  return field(
    type,
    (raw) => {
      const text = typeof raw === 'string' ? raw : '';
      const value = isIPv6(text) ? prefixOf(text, 64) : parsePrefix(text);
      return value && (value.family === 4 || value.length <= 64) ? { value } : { expected: type };
    },
    spec,
  );
}

/** A host name of letters, digits and hyphens with at least one dot (RFC 1123; no underscore, no trailing dot). */
export const HOST = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/i;

export function hostName(spec: Spec): Field<string> {
  return text({ ...spec, pattern: HOST, type: 'a fully qualified host name such as "gw1.example.net"' });
}

/** A zone, and its test point where that has another name than "test". */
export function dnsList(spec: Spec): Field<string> {
  const name = '(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\\.)*[a-z0-9][a-z0-9-]{0,62}';
  return text({
    ...spec,
    pattern: new RegExp(`^(?=.{4,200}$)${name}\\.[a-z]{2,63}(?: ${name})?$`),
    type: 'a zone such as "uri.example.org", and behind a blank its test point',
  });
}

// The kernel allows more; these names stand in the text of iptables-restore and ip -batch, where "+", "!" and quotes mean
// something. "lo" is refused because rules for it would meet the gateway's own connections to the smarthost.
const INTERFACE = /^(?!\.{1,2}$|lo$)[a-z0-9_.][a-z0-9_.@-]{0,14}$/i;

export function interfaceName(spec: Spec): Field<string> {
  return text({
    ...spec,
    pattern: INTERFACE,
    type: 'an interface name such as "lan0" (letters, digits and "_.@-", at most 15; not "lo")',
  });
}

/** A server to connect to, or an address to listen on. `host` is a lower-case name or a canonical address. */
export type Endpoint = {
  readonly host: string;
  readonly port: number;
  readonly isAddress: boolean;
  /** `host:port`, IPv6 in brackets: one spelling for each endpoint */
  readonly text: string;
};

export function endpoint(spec: Spec & { addressOnly?: boolean }): Field<Endpoint> {
  const type = spec.addressOnly
    ? 'an address and port such as "127.0.0.1:9125" or "[::1]:9125"'
    : 'a server and port such as "smtp.example.net:587" or "[2001:db8::1]:587"';
  return field(
    type,
    (raw) => {
      const value = parseEndpoint(raw);
      return value && (value.isAddress || !spec.addressOnly) ? { value } : { expected: type };
    },
    spec,
  );
}

function parseEndpoint(raw: unknown): Endpoint | undefined {
  const match = typeof raw === 'string' ? /^(?:\[([^\]]+)\]|([^:[\]]+)):([1-9]\d{0,4})$/.exec(raw) : null;
  const [, bracketed, plain = '', digits] = match ?? [];
  const port = Number(digits);
  if (!match || port > 65535) return undefined;
  if (bracketed !== undefined) {
    const host = isIPv6(bracketed) ? canonical(bracketed) : undefined;
    if (host === undefined) return undefined;
    return { host, port, isAddress: true, text: `${isIPv6(host) ? `[${host}]` : host}:${port}` };
  }
  const host = plain.toLowerCase();
  const isAddress = isIPv4(host);
  return isAddress || host === 'localhost' || HOST.test(host)
    ? { host, port, isAddress, text: `${host}:${port}` }
    : undefined;
}

/** A service of this machine or of another one: a unix socket, or an address and port. */
export type Service =
  | { readonly text: string; readonly path: string }
  | { readonly text: string; readonly host: string; readonly port: number };

export function service(spec: Spec): Field<Service> {
  const type = 'the path of a socket such as "/run/clamav/clamd.ctl", or an address and port such as "127.0.0.1:3310"';
  return field<Service>(
    type,
    (raw) => {
      // The kernel takes no longer path (unix(7)).
      if (typeof raw === 'string' && /^\/[\x21-\x7e]{1,106}$/.test(raw)) return { value: { text: raw, path: raw } };
      const at = parseEndpoint(raw);
      return at ? { value: { text: at.text, host: at.host, port: at.port } } : { expected: type };
    },
    spec,
  );
}
