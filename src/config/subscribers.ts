/**
 * Subscribers from the files of a directory: `*.toml` with `[[subscriber]]`, `*.csv` with one row for each.
 *
 * A file of 100,000 rows is read at each start and reload of every role, so a row costs microseconds: only what is set
 * becomes part of a subscriber, and a place is a file and a number.
 */
import { constants, promises as fs } from 'node:fs';
import { join } from 'node:path';
import { CsvError, csvRows } from './csv.ts';
import { type ConfigError, configError, Reporter, shownValue } from './error.ts';
import { camel, type Field, list, table } from './field.ts';
import { indexLines } from './lines.ts';
import { nearest } from './near.ts';
import { reasonOf } from './outside.ts';
import { read } from './read.ts';
import { type Place, type Subscriber, schema } from './schema.ts';
import { readToml } from './syntax.ts';

export type SubscriberFile = {
  readonly subscribers: readonly Subscriber[];
  readonly errors: readonly ConfigError[];
};

const MAX_TOML_BYTES = 4 * 1024 * 1024;
const MAX_CSV_BYTES = 256 * 1024 * 1024;
const MAX_ERRORS = 500;

const fields = schema.fields.subscriber.fields;
const fileSchema = table('A file of subscribers.', { subscriber: list('', fields, { mayBeEmpty: true }) });

/** The columns that a CSV file may have, in the order of the schema. */
export const columns: readonly string[] = Object.keys(fields);

/** Whether a name in the directory is one of the files that are read. */
export function isSubscriberFile(name: string): boolean {
  return /^[^.].*\.(toml|csv)$/.test(name);
}

/** All files of the directory in the order of their names. Never rejects. */
export async function readDirectory(directory: string): Promise<SubscriberFile> {
  let names: string[];
  try {
    names = (await fs.readdir(directory)).filter(isSubscriberFile).sort();
  } catch (error) {
    return unread(directory, `a directory that can be read: ${reasonOf(error)}`);
  }
  const subscribers: Subscriber[] = [];
  const errors: ConfigError[] = [];
  for (const name of names) {
    // Whoever writes there need not be allowed to read what a link leads to, and what is wrong with a file is quoted.
    const read = await readSubscriberFile(join(directory, name), constants.O_NOFOLLOW);
    for (const one of read.subscribers) subscribers.push(one);
    errors.push(...read.errors);
  }
  return { subscribers, errors };
}

/** One file, by its ending. `flags`: of open(2), besides those to read. Never rejects. */
export async function readSubscriberFile(file: string, flags = 0): Promise<SubscriberFile> {
  const isCsv = file.endsWith('.csv');
  const most = isCsv ? MAX_CSV_BYTES : MAX_TOML_BYTES;
  try {
    await using open = await fs.open(file, constants.O_RDONLY | constants.O_NONBLOCK | flags);
    const stat = await open.stat();
    if (!stat.isFile()) return unread(file, 'a file of subscribers; this is no regular file');
    if (stat.size > most) return unread(file, `a file of at most ${most} bytes; it has ${stat.size}`);
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await open.readFile());
    return isCsv ? fromCsv(text, file) : fromToml(text, file);
  } catch (error) {
    if (error instanceof TypeError) return unread(file, 'text in UTF-8');
    return unread(file, `a file that can be read: ${reasonOf(error)}`);
  }
}

function unread(file: string, expected: string): SubscriberFile {
  return { subscribers: [], errors: [configError({ file, line: 0, key: '', value: undefined, expected })] };
}

function fromToml(text: string, file: string): SubscriberFile {
  const { data, faults, text: whatWasRead } = readToml(text);
  const lines = indexLines(whatWasRead);
  const reporter = new Reporter(file, lines);
  const { draft } = read(fileSchema, data, { report: reporter.report, lines, missing: faults.length === 0 });
  const errors = [
    ...faults.map(({ line, column, message }) =>
      configError({ file, line, key: '', value: undefined, expected: `TOML; at column ${column}: ${message}` }),
    ),
    ...reporter.errors,
  ];
  const placeOf = (i: number): Place => {
    const path = `subscriber[${i}]`;
    return { file, line: lines(path), keyLine: (key) => lines(`${path}.${key}`) };
  };
  return { subscribers: errors.length > 0 ? [] : compact(draft.subscriber, placeOf), errors };
}

/** From drafts without errors: what is not set is left out. */
export function compact(
  drafts: readonly Readonly<Record<string, unknown>>[],
  placeOf: (i: number) => Place,
): Subscriber[] {
  return drafts.map((draft, i) => {
    const set = Object.entries(draft).filter(([, value]) => value !== undefined);
    return { ...Object.fromEntries(set), place: placeOf(i) } as unknown as Subscriber;
  });
}

/** The text of a CSV file: a head with the names of its columns, then a row for each subscriber. */
export function fromCsv(text: string, file: string): SubscriberFile {
  const subscribers: Subscriber[] = [];
  const errors: ConfigError[] = [];
  const refuse = (line: number, key: string, value: string | undefined, expected: string): void => {
    const shown = value === undefined ? undefined : shownValue(key, value);
    if (errors.length < MAX_ERRORS) errors.push(configError({ file, line, key, value: shown, expected }));
  };
  try {
    let head: readonly Column[] | undefined;
    for (const { line, cells } of csvRows(text)) {
      if (!head) {
        head = columnsOf(cells, (key, expected) => refuse(line, 'head', key, expected));
        continue;
      }
      if (cells.length !== head.length) {
        refuse(line, '', undefined, `${head.length} values as in the head; this row has ${cells.length}`);
        continue;
      }
      const subscriber: Record<string, unknown> = { place: { file, line } };
      for (let i = 0; i < head.length; i++) {
        const { key, name, field } = head[i] as Column;
        const cell = (cells[i] as string).trim();
        if (cell === '') {
          if (field.required) refuse(line, key, '', field.type);
          continue;
        }
        const parsed = parseCell(field, cell);
        if ('expected' in parsed) refuse(line, key, cell, parsed.expected);
        else subscriber[name] = parsed.value;
      }
      subscribers.push(subscriber as unknown as Subscriber);
    }
    if (!head) refuse(1, '', undefined, `a head such as: ${columns.slice(0, 2).join(',')},contact`);
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    refuse(error.line, '', undefined, error.message);
  }
  return { subscribers: errors.length > 0 ? [] : subscribers, errors };
}

type Column = { readonly key: string; readonly name: string; readonly field: Field<unknown> };

function columnsOf(cells: readonly string[], refuse: (value: string, expected: string) => void): Column[] {
  const keys = cells.map((cell) => cell.trim());
  for (const [i, key] of keys.entries()) {
    const near = nearest(key, columns);
    if (!Object.hasOwn(fields, key))
      refuse(key, `a column of: ${columns.join(', ')}${near === undefined ? '' : `; did you mean "${near}"?`}`);
    else if (keys.indexOf(key) < i) refuse(key, 'each column once');
  }
  for (const key of ['name', 'prefixes']) if (!keys.includes(key)) refuse(keys.join(','), `a column "${key}"`);
  return keys
    .filter((key) => Object.hasOwn(fields, key))
    .map((key) => ({ key, name: camel(key), field: fields[key as keyof typeof fields] as Field<unknown> }));
}

/** A cell as the value that would stand in TOML: lists have blanks, or semicolons, between their elements, numbers no quotes. */
function parseCell(field: Field<unknown>, cell: string): ReturnType<Field<unknown>['parse']> {
  if (field.item) {
    if (cell.includes(';')) return field.parse(cell.split(';').map((part) => part.trim()));
    const whole = field.parse([cell]);
    return 'value' in whole ? whole : field.parse(cell.split(/ +/));
  }
  if (/^\d+$/.test(cell)) {
    const number = field.parse(Number(cell));
    if ('value' in number) return number;
  }
  return field.parse(cell);
}
