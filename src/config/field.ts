/**
 * The building blocks of the schema: a field says its type, default, doc and check in one place; everything else
 * (the effective configuration, the commented example, docs/config.md, the error texts) is derived from it.
 */
import { isIP } from 'node:net';
import { canonical, parsePrefix, type Prefix } from '../kit/address.ts';

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
};

// biome-ignore lint: the value's type is carried by inference
export type Fields = { readonly [key: string]: Field<any> | Table | List };

type Camel<K extends string> = K extends `${infer A}_${infer B}` ? `${A}${Capitalize<Camel<B>>}` : K;

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

export function list<F extends Fields>(doc: string, fields: F): List<F> {
  return { kind: 'list', doc, fields };
}

/** A list of values of one field's type; each value is checked by itself. */
export function listOf<T>(item: (spec: Spec) => Field<T>, spec: Spec & { min?: number }): Field<readonly T[]> {
  const one = item({ doc: '', example: '' });
  return field(
    `a list, each ${one.type}`,
    (raw) => {
      if (!Array.isArray(raw)) return { expected: `a list, each ${one.type}` };
      if (raw.length < (spec.min ?? 0)) return { expected: `at least ${spec.min} in the list, each ${one.type}` };
      const values: T[] = [];
      for (const element of raw) {
        const parsed = one.parse(element);
        if ('expected' in parsed) return { expected: `each ${parsed.expected}, not ${JSON.stringify(element)}` };
        values.push(parsed.value);
      }
      return { value: values };
    },
    spec,
  );
}

export function text(spec: Spec & { pattern?: RegExp; type?: string }): Field<string> {
  const type = spec.type ?? 'a text';
  return field(
    type,
    (raw) =>
      typeof raw === 'string' && raw !== '' && (spec.pattern?.test(raw) ?? true) ? { value: raw } : { expected: type },
    spec,
  );
}

export function choice<const T extends string>(values: readonly T[], spec: Spec): Field<T> {
  const type = `one of ${values.map((v) => `"${v}"`).join(', ')}`;
  return field(type, (raw) => (values.includes(raw as T) ? { value: raw as T } : { expected: type }), spec);
}

export function integer(spec: Spec & { min: number; max: number }): Field<number> {
  const type = `a whole number from ${spec.min} to ${spec.max}`;
  return field(
    type,
    (raw) => {
      const value = typeof raw === 'bigint' ? Number(raw) : raw;
      return Number.isInteger(value) && (value as number) >= spec.min && (value as number) <= spec.max
        ? { value: value as number }
        : { expected: type };
    },
    spec,
  );
}

export function boolean(spec: Spec): Field<boolean> {
  return field('true or false', (raw) => (typeof raw === 'boolean' ? { value: raw } : { expected: 'true or false' }), spec);
}

/** `"auto"` or a number; the loader turns "auto" into the machine's number of processors. */
export function countOrAuto(spec: Spec & { max: number }): Field<number | 'auto'> {
  const type = `"auto" or a whole number from 1 to ${spec.max}`;
  return field<number | 'auto'>(
    type,
    (raw) => {
      const value = typeof raw === 'bigint' ? Number(raw) : raw;
      if (value === 'auto') return { value: 'auto' };
      return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= spec.max
        ? { value: value as number }
        : { expected: type };
    },
    spec,
  );
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration, in milliseconds once parsed. */
export function durationMs(spec: Spec & { min?: string; max?: string }): Field<number> {
  const span = spec.min || spec.max ? ` from ${spec.min ?? '0s'} to ${spec.max ?? 'any'}` : '';
  const type = `a duration such as "30s", "5m", "2h", "32d"${span}`;
  return field(
    type,
    (raw) => {
      const value = parseDurationMs(raw);
      const low = spec.min ? (parseDurationMs(spec.min) as number) : 0;
      const high = spec.max ? (parseDurationMs(spec.max) as number) : Number.MAX_SAFE_INTEGER;
      return value !== undefined && value >= low && value <= high ? { value } : { expected: type };
    },
    spec,
  );
}

export function parseDurationMs(raw: unknown): number | undefined {
  const match = typeof raw === 'string' ? /^(\d{1,9})(ms|s|m|h|d)$/.exec(raw) : null;
  return match ? Number(match[1]) * (UNIT_MS[match[2] as string] as number) : undefined;
}

const UNIT_BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** A size, in bytes once parsed. */
export function sizeBytes(spec: Spec): Field<number> {
  const type = 'a size such as "256KiB", "50MiB", "1GiB"';
  return field(
    type,
    (raw) => {
      const match = typeof raw === 'string' ? /^(\d{1,9})(B|KiB|MiB|GiB)$/.exec(raw) : null;
      return match && Number(match[1]) > 0
        ? { value: Number(match[1]) * (UNIT_BYTES[match[2] as string] as number) }
        : { expected: type };
    },
    spec,
  );
}

/** Events per time, `"50/s"`, `"600/m"`; per second once parsed. */
export function perSecond(spec: Spec): Field<number> {
  const type = 'a rate such as "50/s", "600/m"';
  return field(
    type,
    (raw) => {
      const match = typeof raw === 'string' ? /^(\d{1,6})\/(s|m)$/.exec(raw) : null;
      return match && Number(match[1]) > 0
        ? { value: Number(match[1]) / (match[2] === 's' ? 1 : 60) }
        : { expected: type };
    },
    spec,
  );
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

/** A host name of letters, digits and hyphens with at least one dot (RFC 1123; no underscore, no trailing dot). */
const HOST = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/i;

export function hostName(spec: Spec): Field<string> {
  return text({ ...spec, pattern: HOST, type: 'a fully qualified host name such as "gw1.example.net"' });
}

export function path(spec: Spec): Field<string> {
  return text({ ...spec, pattern: /^\/[^\0]*$/, type: 'an absolute path' });
}

export function interfaceName(spec: Spec): Field<string> {
  return text({ ...spec, pattern: /^(?!\.{1,2}$)[^\s/:%!+"'*]{1,15}$/, type: 'an interface name of at most 15 characters' });
}

/** A server to connect to, or an address to listen on. `host` is a name or a canonical address. */
export type Endpoint = { readonly host: string; readonly port: number; readonly isAddress: boolean; readonly text: string };

export function endpoint(spec: Spec & { addressOnly?: boolean }): Field<Endpoint> {
  const type = spec.addressOnly
    ? 'an address and port such as "127.0.0.1:9125" or "[::1]:9125"'
    : 'a server and port such as "smtp.example.net:587" or "[2001:db8::1]:587"';
  return field(
    type,
    (raw) => {
      const match = typeof raw === 'string' ? /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(raw) : null;
      const port = Number(match?.[3]);
      const name = match?.[1] ?? match?.[2] ?? '';
      if (!match || port < 1 || port > 65535) return { expected: type };
      const address = isIP(name) && (match[1] === undefined) === (isIP(name) === 4) ? canonical(name) : undefined;
      if (address === undefined && (spec.addressOnly || match[1] !== undefined || !(HOST.test(name) || name === 'localhost')))
        return { expected: type };
      const host = address ?? name.toLowerCase();
      return { value: { host, port, isAddress: address !== undefined, text: raw as string } };
    },
    spec,
  );
}
