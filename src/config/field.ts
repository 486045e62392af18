/**
 * The building blocks of the schema: a field says its type, default, doc and check in one place; everything else
 * (the effective configuration, the commented example, docs/config.md, the error texts) is derived from it.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { classes } from '../policy/classes.ts';
import type { SenderPattern } from '../policy/senders.ts';
import { IDENTITY_TYPE, type IdentityRule, parseIdentityRule } from './identity-rule.ts';
import { Pattern } from '../kit/pattern.ts';
import { canonical, parsePrefix, type Prefix, prefixOf } from '../kit/address.ts';

/** What a parser says of a value: the value, or what was expected instead. */
export type Parsed<T> = { readonly value: T } | { readonly expected: string };

export type Field<T> = {
  readonly kind: 'field';
  /** what may stand here, for docs and errors: `a duration such as "30s"` */
  readonly type: string;
  readonly doc: string;
  readonly parse: (raw: unknown) => Parsed<T>;
  /** the default as it would stand in the file; undefined when the key is required or optional */
  readonly fallback: unknown;
  readonly required: boolean;
  /** shown in the example file when there is no default */
  readonly example: unknown;
  /** of a list: the field of each element, so that every bad element is reported and not the first alone */
  readonly item?: Field<unknown>;
  /** the value as it would stand in the file, where that is another than itself */
  write?(value: T): unknown;
};

export type Table<F extends Fields = Fields> = {
  readonly kind: 'table';
  readonly doc: string;
  readonly fields: F;
};

export type List<F extends Fields = Fields> = {
  readonly kind: 'list';
  readonly doc: string;
  readonly fields: F;
  /** there need be none */
  readonly mayBeEmpty: boolean;
};

// biome-ignore lint: the value's type is carried by inference
export type Fields = { readonly [key: string]: Field<any> | Table | List };

export type Camel<K extends string> = K extends `${infer A}_${infer B}` ? `${A}${Capitalize<Camel<B>>}` : K;

/** The effective configuration's type, keys in camelCase. */
export type Infer<F extends Fields> = {
  readonly [K in keyof F & string as Camel<K>]: F[K] extends Field<infer T>
    ? T
    : F[K] extends Table<infer G>
      ? Infer<G>
      : F[K] extends List<infer G>
        ? readonly Infer<G>[]
        : never;
};

export function camel(key: string): string {
  return key.replace(/[_-](\w)/g, (_, c: string) => c.toUpperCase());
}

type Spec = { doc: string; default?: unknown; example?: unknown };

function field<T>(type: string, parse: (raw: unknown) => Parsed<T>, spec: Spec): Field<T> {
  return {
    kind: 'field',
    type,
    parse,
    doc: spec.doc,
    fallback: spec.default,
    required: spec.default === undefined,
    example: spec.example ?? spec.default,
  };
}

/** The same field, but it may be left out: its value is then undefined. */
export function optional<T>(of: Field<T>): Field<T | undefined> {
  return { ...of, required: false };
}

export function table<F extends Fields>(doc: string, fields: F): Table<F> {
  return { kind: 'table', doc, fields };
}

export function list<F extends Fields>(doc: string, fields: F, { mayBeEmpty = false } = {}): List<F> {
  return { kind: 'list', doc, fields, mayBeEmpty };
}

/** The settings of a table as another has them that inherits: none has a default, what is left out is undefined. */
export type Inherited<F extends Fields, Own extends string> = {
  readonly [K in Exclude<keyof F & string, Own>]: F[K] extends Field<infer T> ? Field<T | undefined> : never;
};

/** All fields but the table's `own`. */
export function inherited<F extends Fields, const Own extends string>(
  fields: F,
  own: readonly Own[],
): Inherited<F, Own> {
  const shared = Object.entries(fields).filter(
    (entry): entry is [string, Field<unknown>] => entry[1].kind === 'field' && !own.includes(entry[0] as Own),
  );
  return Object.fromEntries(
    shared.map(([key, of]) => [key, { ...of, required: false, fallback: undefined }]),
  ) as unknown as Inherited<F, Own>;
}

/** A list of values of one field's type; each value is checked by itself. */
export function listOf<T>(item: (spec: Spec) => Field<T>, spec: Spec & { min?: number }): Field<readonly T[]> {
  const one = item({ doc: '' });
  const type = spec.min ? `a list of at least ${spec.min}, each ${one.type}` : `a list, each ${one.type}`;
  const parse = (raw: unknown): Parsed<readonly T[]> => {
    if (!Array.isArray(raw) || raw.length < (spec.min ?? 0)) return { expected: type };
    const values: T[] = [];
    for (const element of raw) {
      const parsed = one.parse(element);
      if ('expected' in parsed) return { expected: type };
      values.push(parsed.value);
    }
    return { value: values };
  };
  return {
    ...field(type, parse, spec),
    item: one,
    ...(one.write && { write: (values) => values.map((v) => one.write?.(v)) }),
  };
}

// Without controls and the format characters that turn text around: values are printed, logged and sent in SMTP.
const PLAIN = /^[^\p{C}\p{Zl}\p{Zp}]{1,256}$/u;

/** A text in quotes; without a pattern, 1 to 256 characters none of which is a control. */
export function text(spec: Spec & { pattern?: RegExp; type?: string }): Field<string> {
  const type = spec.type ?? 'a text of 1 to 256 characters without controls';
  const pattern = spec.pattern ?? PLAIN;
  return field(
    type,
    (raw) => (typeof raw === 'string' && pattern.test(raw) ? { value: raw } : { expected: type }),
    spec,
  );
}

export function choice<const T extends string>(values: readonly T[], spec: Spec): Field<T> {
  const type = `one of ${values.map((v) => `"${v}"`).join(', ')}`;
  return field(type, (raw) => (values.includes(raw as T) ? { value: raw as T } : { expected: type }), spec);
}

export function integer(spec: Spec & { min: number; max: number }): Field<number> {
  const type = `a whole number from ${spec.min} to ${spec.max}`;
  return field(type, (raw) => (isCount(raw, spec.min, spec.max) ? { value: raw } : { expected: type }), spec);
}

/** A number above 0, whole or not. */
export function decimal(spec: Spec & { max: number }): Field<number> {
  const type = `a number above 0, at most ${spec.max}`;
  return field(
    type,
    (raw) => (typeof raw === 'number' && raw > 0 && raw <= spec.max ? { value: raw } : { expected: type }),
    spec,
  );
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

/** A pattern in RE2's syntax, which can be matched in linear time (kit/pattern.ts). */
export function pattern(spec: Spec): Field<string> {
  const type = 'a pattern in RE2 syntax (no look-around, no back references), at most 1000 characters';
  return field(
    type,
    (raw) => {
      const compiled = typeof raw === 'string' && raw !== '' ? Pattern.compile(raw) : undefined;
      if (compiled instanceof Pattern) return { value: compiled.source };
      return { expected: compiled ? `${type}: ${compiled.fault}` : type };
    },
    spec,
  );
}

/** TOML integers beyond 2^53 arrive as bigint and are out of every range here. */
function isCount(raw: unknown, min: number, max: number): raw is number {
  return typeof raw === 'number' && Number.isInteger(raw) && raw >= min && raw <= max;
}

export function boolean(spec: Spec): Field<boolean> {
  return field(
    'true or false',
    (raw) => (typeof raw === 'boolean' ? { value: raw } : { expected: 'true or false' }),
    spec,
  );
}

/** `"auto"` or a number; the loader turns "auto" into the machine's number of processors. */
export function countOrAuto(spec: Spec & { max: number }): Field<number | 'auto'> {
  const type = `"auto" or a whole number from 1 to ${spec.max}`;
  return field<number | 'auto'>(
    type,
    (raw) => (raw === 'auto' || isCount(raw, 1, spec.max) ? { value: raw } : { expected: type }),
    spec,
  );
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const UNIT_BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** `30s`, `5m`, `32d` in milliseconds; undefined when it is none. */
export function parseDurationMs(raw: unknown): number | undefined {
  const match = typeof raw === 'string' ? /^(\d{1,9})(ms|s|m|h|d)$/.exec(raw) : null;
  return match ? Number(match[1]) * (UNIT_MS[match[2] as string] as number) : undefined;
}

/** `256KiB`, `50MiB` in bytes; undefined when it is none. */
export function parseSizeBytes(raw: unknown): number | undefined {
  const match = typeof raw === 'string' ? /^(\d{1,9})(B|KiB|MiB|GiB)$/.exec(raw) : null;
  return match ? Number(match[1]) * (UNIT_BYTES[match[2] as string] as number) : undefined;
}

/** A duration, in milliseconds once parsed. */
export function durationMs(spec: Spec & { min?: string; max: string }): Field<number> {
  const of = quantity('a duration such as "500ms", "30s", "5m", "2h"', parseDurationMs, { min: '0s', ...spec });
  return { ...of, write: durationText };
}

/** In the largest unit that has no fraction. */
function durationText(ms: number): string {
  const [unit, size] = Object.entries(UNIT_MS).findLast(([, one]) => ms % one === 0) ?? ['ms', 1];
  return `${ms / size}${unit}`;
}

/** A size, in bytes once parsed. */
export function sizeBytes(spec: Spec & { min?: string; max: string }): Field<number> {
  return quantity('a size such as "500B", "256KiB", "50MiB"', parseSizeBytes, { min: '1B', ...spec });
}

/** A number with its unit in one text, between bounds that are written the same way. */
function quantity(
  kind: string,
  parse: (raw: unknown) => number | undefined,
  spec: Spec & { min: string; max: string },
): Field<number> {
  const type = `${kind}; from ${spec.min} to ${spec.max}`;
  const low = parse(spec.min) ?? Number.NaN;
  const high = parse(spec.max) ?? Number.NaN;
  return field(
    type,
    (raw) => {
      const value = parse(raw);
      return value !== undefined && value >= low && value <= high ? { value } : { expected: type };
    },
    spec,
  );
}

/** Events per time, `"50/s"`, `"600/m"`; per second once parsed. */
export function perSecond(spec: Spec): Field<number> {
  const type = 'a rate such as "50/s", "600/m"; from "1/m" to "10000/s"';
  return field(
    type,
    (raw) => {
      const match = typeof raw === 'string' ? /^(\d{1,6})\/(s|m)$/.exec(raw) : null;
      const value = Number(match?.[1] ?? 0) / (match?.[2] === 'm' ? 60 : 1);
      return value > 0 && value <= 10_000 ? { value } : { expected: type };
    },
    spec,
  );
}

/** So much in a period of time. */
export type Limit = {
  readonly count: number;
  readonly period: 'minute' | 'hour' | 'day' | 'week' | 'month';
  /** as it was written: `30/hour` */
  readonly text: string;
};

const LIMIT_TYPE = 'then "/minute", "/hour", "/day", "/week" or "/month"';

/** A count in a period, `"30/hour"`. */
export function limit(spec: Spec): Field<Limit> {
  return limitOf(`a limit such as "30/hour": a number up to 1000000000, ${LIMIT_TYPE}`, spec, (text) =>
    /^\d{1,10}$/.test(text) && Number(text) <= 1_000_000_000 ? Number(text) : undefined,
  );
}

/** A size in a period, `"1GiB/day"`. */
export function sizeLimit(spec: Spec): Field<Limit> {
  return limitOf(`a limit such as "1GiB/day": a size up to "100000GiB", ${LIMIT_TYPE}`, spec, (text) => {
    const bytes = parseSizeBytes(text);
    return bytes !== undefined && bytes <= 100_000 * 1024 ** 3 ? bytes : undefined;
  });
}

function limitOf(type: string, spec: Spec, countOf: (text: string) => number | undefined): Field<Limit> {
  const parse = (raw: unknown): Parsed<Limit> => {
    const match = typeof raw === 'string' ? /^(\w+)\/(minute|hour|day|week|month)$/.exec(raw) : null;
    const count = countOf(match?.[1] ?? '');
    return match && count !== undefined
      ? { value: { count, period: match[2] as Limit['period'], text: match[0] } }
      : { expected: type };
  };
  return { ...field(type, parse, spec), write: ({ text }) => text };
}

/** Limits of one thing, each for a period of its own: of two for the same the smaller counts. */
export function limits(of: typeof limit, spec: Spec): Field<readonly Limit[]> {
  return listOf(of, { default: [], ...spec });
}

export function identityRule(spec: Spec): Field<IdentityRule> {
  const parse = (raw: unknown): Parsed<IdentityRule> => {
    const rule = parseIdentityRule(raw);
    return 'expected' in rule ? rule : { value: rule };
  };
  return { ...field(IDENTITY_TYPE, parse, spec), write: ({ text }) => text };
}

/** A class of the table, or all of one kind. */
export function className(spec: Spec): Field<string> {
  const type = 'a class such as "spam.gtube", or "spam" for all of spam.*; "postern classes" lists them';
  const names = Object.keys(classes);
  const isKnown = (text: string): boolean => names.some((name) => name === text || name.startsWith(`${text}.`));
  return field(type, (raw) => (typeof raw === 'string' && isKnown(raw) ? { value: raw } : { expected: type }), spec);
}

/** Sender addresses: `a@example.com`, `*@example.com`, and `*@*.example.com` for all domains below it. */
export function senderPattern(spec: Spec): Field<SenderPattern & { readonly text: string }> {
  const type = 'a sender such as "a@example.com", "*@example.com", or "*@*.example.com" for the domains below it';
  const parse = (raw: unknown): Parsed<SenderPattern & { readonly text: string }> => {
    const text = typeof raw === 'string' ? raw.toLowerCase() : '';
    const [, local = '', below, domain = ''] = /^([^\s<>@]{1,64})@(\*\.)?([^\s<>@*]{1,253})$/.exec(text) ?? [];
    if (domain === '' || !HOST.test(domain) || (local !== '*' && local.includes('*'))) return { expected: type };
    return { value: { local: local === '*' ? undefined : local, domain, isBelow: below !== undefined, text } };
  };
  return { ...field(type, parse, spec), write: ({ text }) => text };
}

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

/** A mailbox for people to be written to: local part and domain in ASCII, as SMTP carries it without extensions. */
export function mailAddress(spec: Spec): Field<string> {
  return text({
    ...spec,
    pattern: /^[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$/i,
    type: 'a mail address such as "abuse@example.net"',
  });
}

/** A host name of letters, digits and hyphens with at least one dot (RFC 1123; no underscore, no trailing dot). */
const HOST = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/i;

export function hostName(spec: Spec): Field<string> {
  return text({ ...spec, pattern: HOST, type: 'a fully qualified host name such as "gw1.example.net"' });
}

/** Whose mail: everybody's, a domain's, or one address's. */
export function mailOf(spec: Spec): Field<string> {
  const domain = HOST.source.slice(1, -1);
  return text({
    ...spec,
    pattern: new RegExp(`^(?:\\*|(?:[^\\s<>"@\\p{C}]{1,64}@)?${domain})$`, 'iu'),
    type: '"*" for all, a domain such as "example.net", or an address such as "a@example.net"',
  });
}

export function path(spec: Spec): Field<string> {
  return text({ ...spec, pattern: /^\/[^\p{C}\p{Zl}\p{Zp}]{0,4000}$/u, type: 'an absolute path' });
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
