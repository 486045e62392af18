/**
 * Plain values against the schema, key by key: unknown keys, wrong types, missing keys. What is valid goes into a
 * draft even when its neighbour is not, so that the rules joining several keys (check.ts) can be tried in the same run.
 */
import type { Report } from './error.ts';
import { type Camel, camel, type Field, type Fields, type List, type Table } from './field.ts';
import { join, type Lines } from './lines.ts';
import { nearest } from './near.ts';
import { sections } from './toml.ts';

/**
 * The shape of the effective configuration with holes: a key whose value was refused is not in it, an optional key
 * that was left out is in it as undefined. Elements of lists keep their places.
 */
export type Draft<F extends Fields> = {
  readonly [K in keyof F & string as Camel<K>]: F[K] extends Field<infer T>
    ? (T extends readonly (infer E)[] ? readonly (E | undefined)[] : T) | undefined
    : F[K] extends Table<infer G>
      ? Draft<G>
      : F[K] extends List<infer G>
        ? readonly Draft<G>[]
        : never;
};

/** How a value is (or would be) written in the file, and on which line; undefined for a default. */
export type Origin = { readonly written: unknown; readonly line: number | undefined };

/** By key as in messages: `network[0].prefixes`. */
export type Origins = ReadonlyMap<string, Origin>;

type Raw = Readonly<Record<string, unknown>>;

/**
 * Reads `data` against `schema`. `missing` says whether keys that are not there are reported: not when the text had
 * faults, since the key may stand in the part that could not be read.
 */
export function read<F extends Fields>(
  schema: Table<F>,
  data: Raw,
  { report, lines, missing }: { readonly report: Report; readonly lines: Lines; readonly missing: boolean },
): { readonly draft: Draft<F>; readonly origins: Origins } {
  const origins = new Map<string, Origin>();

  const readTable = (fields: Fields, raw: Raw, path: string): Record<string, unknown> => {
    const draft: Record<string, unknown> = {};
    const unknown = Object.keys(raw).filter((key) => !Object.hasOwn(fields, key));
    // A key that is there with a slip in its name is not missing as well.
    const meant = new Set(unknown.map((key) => reportUnknown(fields, raw[key], path, key)));
    for (const [key, entry] of Object.entries(fields)) {
      const here = join(path, key);
      const given = Object.hasOwn(raw, key) ? raw[key] : undefined;
      if (given === undefined && meant.has(key)) {
        if (entry.kind !== 'field') draft[camel(key)] = entry.kind === 'list' ? [] : {};
      } else if (entry.kind === 'table') draft[camel(key)] = readSubTable(entry, given, here);
      else if (entry.kind === 'list') draft[camel(key)] = readList(entry, given, here);
      else readField(entry, given, here, (value) => (draft[camel(key)] = value));
    }
    return draft;
  };

  const readSubTable = (table: Table, given: unknown, path: string): Record<string, unknown> => {
    if (given === undefined) return readTable(table.fields, {}, path);
    if (isTable(given)) return readTable(table.fields, given, path);
    report(path, Array.isArray(given) ? undefined : given, `one table, written [${path}]`);
    return {};
  };

  const readList = (list: List, given: unknown, path: string): Record<string, unknown>[] => {
    const tables = Array.isArray(given) ? given.filter(isTable) : [];
    if (given === undefined || (Array.isArray(given) && given.length === 0)) {
      if (missing && !list.mayBeEmpty)
        report(path, undefined, `at least one [[${path}]]; with none there is nothing to do`);
    } else if (!Array.isArray(given) || tables.length < given.length) {
      report(path, isTable(given) ? undefined : given, `a list of tables, each written [[${path}]]`);
      return [];
    }
    return tables.map((table, i) => readTable(list.fields, table, `${path}[${i}]`));
  };

  const readField = (field: Field<unknown>, given: unknown, path: string, keep: (value: unknown) => void): void => {
    if (given === undefined && field.required) {
      if (missing) report(path, undefined, `${field.type}; the key is missing`);
      return;
    }
    const written = given === undefined ? field.fallback : given;
    origins.set(path, { written, line: given === undefined ? undefined : lines(path) });
    if (written === undefined) return keep(undefined);
    const { item } = field;
    const parsed = field.parse(written);
    if ('value' in parsed) keep(parsed.value);
    else if (item && Array.isArray(written) && written.length > 0) {
      keep(
        written.map((element: unknown, i) => {
          const one = item.parse(element);
          if ('value' in one) return one.value;
          report(`${path}[${i}]`, element, one.expected);
          return undefined;
        }),
      );
    } else report(path, isTable(written) ? undefined : written, parsed.expected);
  };

  /** Reports a key that is not in the schema, and returns the one that was probably meant. */
  const reportUnknown = (fields: Fields, value: unknown, path: string, key: string): string | undefined => {
    const near = nearest(key, Object.keys(fields));
    const isTables = isTable(value) || (Array.isArray(value) && value.some(isTable));
    const places = near === undefined ? placesOf(schema, key) : [];
    const hint =
      near !== undefined
        ? `did you mean "${near}"?`
        : places.length > 0
          ? `it belongs in ${places.join(' or ')}`
          : `known here: ${Object.keys(fields).join(', ')}`;
    report(join(path, key), isTables ? undefined : value, `a known ${isTables ? 'table' : 'key'}; ${hint}`);
    return near;
  };

  const draft = readTable(schema.fields, data, '') as Draft<F>;
  return { draft, origins };
}

/** The headers of the tables that have a key of this name. */
function placesOf(schema: Table, name: string): string[] {
  return sections(schema.fields)
    .filter(({ keys }) => keys.includes(name))
    .map(({ header }) => header);
}

function isTable(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
