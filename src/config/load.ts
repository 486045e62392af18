/**
 * From the text of a configuration file to the effective configuration, or to everything that is wrong with it at once.
 *
 * A fault in the text leaves keys unread, so then only what was read is looked at: the rules that join keys and the
 * questions to the system wait until the file is TOML.
 */
import { existsSync, promises as fs } from 'node:fs';
import { availableParallelism } from 'node:os';
import { type ConfigDraft, rules, type Tell } from './check.ts';
import { type ConfigError, configError, Reporter, shownValue } from './error.ts';
import { indexLines, type Lines } from './lines.ts';
import { checkOutside, type Outside, reasonOf, system } from './outside.ts';
import { type Origins, read } from './read.ts';
import { type Config, type Place, schema } from './schema.ts';
import { checkSubscribers } from './subscriber-check.ts';
import { compact, readDirectory, type SubscriberFile } from './subscribers.ts';
import { readToml } from './syntax.ts';

export type LoadResult =
  | { readonly ok: true; readonly config: Config; readonly origins: Origins }
  | { readonly ok: false; readonly errors: readonly ConfigError[] };

/** Networks by the thousand fit; what is larger is some other file. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_WORKERS = 64;

/**
 * Loads a configuration file. Never rejects. Without `outside` everything is checked, names and files too, as `postern
 * check` does. A role that must start while no name resolves, or that may not read the password, passes less: `{}`
 * checks the text alone.
 */
export async function loadConfig(path: string, outside: Outside = system): Promise<LoadResult> {
  const wrong = (line: number, expected: string): LoadResult => ({
    ok: false,
    errors: [configError({ file: path, line, key: '', value: undefined, expected })],
  });
  let bytes: Buffer;
  try {
    const stat = await fs.stat(path);
    if (!stat.isFile()) return wrong(0, 'a configuration file; this is no regular file');
    if (stat.size > MAX_FILE_BYTES) return wrong(0, `a file of at most ${MAX_FILE_BYTES} bytes; it has ${stat.size}`);
    bytes = await fs.readFile(path);
  } catch (error) {
    return wrong(0, `a file that can be read: ${reasonOf(error)}; "postern config --example" prints one to begin with`);
  }
  const line = firstLineNotUtf8(bytes);
  if (line !== undefined) return wrong(line, 'text in UTF-8');
  const more = (directory: string): Promise<SubscriberFile> => {
    const copies = copiedSubscribers(path);
    return readDirectory(existsSync(copies) ? copies : directory);
  };
  return parseConfig(bytes.toString('utf8'), path, outside, more);
}

/** Where the files of `subscribers.directory` stand beside a copy of a configuration: checked with it, and used with it. */
export function copiedSubscribers(configPath: string): string {
  return `${configPath}.subscribers`;
}

/**
 * The same for a text; `file` is its name in messages. Without `outside` no name is looked up and no file opened, without
 * `more` no subscribers but those of the text are read.
 */
export async function parseConfig(
  text: string,
  file: string,
  outside: Outside = {},
  more?: (directory: string) => Promise<SubscriberFile>,
): Promise<LoadResult> {
  const { data, faults, text: whatWasRead } = readToml(text);
  const lines = indexLines(whatWasRead);
  const reporter = new Reporter(file, lines);
  const whole = faults.length === 0;
  const { draft, origins } = read(schema, data, { report: reporter.report, lines, missing: whole });
  if (whole) {
    const tell = telling(reporter, lines, origins);
    for (const rule of rules) rule.check(draft, tell);
    await checkOutside(draft, outside, tell);
  }
  const errors = [
    ...faults.map(({ line, column, message }) =>
      configError({ file, line, key: '', value: undefined, expected: `TOML; at column ${column}: ${message}` }),
    ),
    ...reporter.errors,
  ];
  if (errors.length > 0) return { ok: false, errors: errors.sort((a, b) => a.line - b.line) };
  const config = complete(draft, file, lines);
  const { directory } = config.subscribers;
  const others = directory === undefined ? undefined : await more?.(directory);
  const all = others ? { ...config, subscriber: [...config.subscriber, ...others.subscribers] } : config;
  const wrong = others && others.errors.length > 0 ? others.errors : checkSubscribers(all.subscriber, all);
  return wrong.length > 0 ? { ok: false, errors: wrong } : { ok: true, config: all, origins };
}

/** A draft without errors has no holes: it is the configuration but for what depends on the machine. */
function complete(draft: ConfigDraft, file: string, lines: Lines): Config {
  const { gateway, subscriber, ...rest } = draft as Omit<Config, 'gateway'> & {
    gateway: Omit<Config['gateway'], 'workers'> & { workers: number | 'auto' };
  };
  const workers = gateway.workers === 'auto' ? Math.min(availableParallelism(), MAX_WORKERS) : gateway.workers;
  const placeOf = (i: number): Place => ({
    file,
    line: lines(`subscriber[${i}]`),
    keyLine: (key) => lines(`subscriber[${i}].${key}`),
  });
  return { ...rest, gateway: { ...gateway, workers }, subscriber: compact(subscriber, placeOf) };
}

function telling({ report }: Reporter, lines: Lines, origins: Origins): Tell {
  const written = (key: string): unknown => {
    const [, list = '', index] = /^(.*)\[(\d+)\]$/.exec(key) ?? [];
    const values = origins.get(list)?.written;
    return Array.isArray(values) ? (values as unknown[])[Number(index)] : origins.get(key)?.written;
  };
  const isDefault = (key: string): boolean => origins.has(key) && origins.get(key)?.line === undefined;
  return {
    refuse: (key, expected) => report(key, written(key), expected),
    other: (key) =>
      `${key} = ${shownValue(key, written(key))} (${isDefault(key) ? 'the default' : `line ${lines(key)}`})`,
    isDefault,
  };
}

function firstLineNotUtf8(bytes: Buffer): number | undefined {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const isUtf8 = (part: Buffer): boolean => {
    try {
      decoder.decode(part);
      return true;
    } catch {
      return false;
    }
  };
  if (isUtf8(bytes)) return undefined;
  for (let line = 1, from = 0; ; line++) {
    const end = bytes.indexOf(0x0a, from);
    if (end < 0 || !isUtf8(bytes.subarray(from, end))) return line;
    from = end + 1;
  }
}
