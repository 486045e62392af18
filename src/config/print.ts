/**
 * The effective configuration, every key with where its value came from: as TOML that can be loaded again, or as JSON
 * for programs.
 */
import type { Origin, Origins } from './read.ts';
import { type Config, schema } from './schema.ts';
import { type Section, sections, tomlValue } from './toml.ts';

/** TOML, each line with `# FILE:LINE` or `# default` behind it. Optional keys that are not set stand in comments. */
export function printToml(config: Config, origins: Origins, file: string): string {
  const blocks = settings(config, origins, file).map(({ header, entries }) => {
    const rows = entries.map(({ key, value, origin }) => ({
      left: value === undefined ? `# ${key}` : `${key} = ${tomlValue(value)}`,
      right: `# ${value === undefined ? 'not set' : cameFrom(origin, file, value)}`,
    }));
    // Comments stand in one column but for the few very long values.
    const widths = rows.map(({ left }) => left.slice(left.lastIndexOf('\n') + 1).length);
    const column = Math.max(...widths.filter((width) => width <= 48), 0);
    return [
      header,
      ...rows.map(({ left, right }, i) => left + ' '.repeat(Math.max(column - (widths[i] ?? 0), 0) + 2) + right),
    ];
  });
  return `${blocks.map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

/** `{file, config, origins}`: values as in the file (durations and sizes with their units), origins by dotted key. */
export function printJson(config: Config, origins: Origins, file: string): string {
  const from: Record<string, string> = {};
  const root: Record<string, unknown> = {};
  for (const { path, isList, entries } of settings(config, origins, file)) {
    const parts = path.split('.');
    let at = root;
    for (const part of isList ? parts.slice(0, -1) : parts) at = (at[part] ??= {}) as Record<string, unknown>;
    const table: Record<string, unknown> = isList ? {} : at;
    if (isList) ((at[parts.at(-1) as string] ??= []) as unknown[]).push(table);
    for (const { key, fullKey, value, origin } of entries) {
      if (value === undefined) continue;
      table[key] = value;
      from[fullKey] = cameFrom(origin, file, value);
    }
  }
  return `${JSON.stringify({ ok: true, file, config: root, origins: from }, undefined, 2)}\n`;
}

type Entry = {
  readonly key: string;
  readonly fullKey: string;
  readonly value: unknown;
  readonly origin: Origin | undefined;
};

/** Every table that is in effect with its keys and values, in the order of the schema. */
function settings(
  config: Config,
  origins: Origins,
  file: string,
): (Section & { readonly entries: readonly Entry[] })[] {
  return sections(schema.fields).flatMap((section) => {
    const paths = section.isList ? listed(config, section.path, file) : [section.path];
    return paths.map((path) => ({
      ...section,
      entries: section.fields.map(([key]) => {
        const fullKey = `${path}.${key}`;
        const origin = origins.get(fullKey);
        const value = fullKey === 'gateway.workers' ? config.gateway.workers : origin?.written;
        return { key, fullKey, value, origin };
      }),
    }));
  });
}

/** Subscribers of other files are not shown: subscribers.directory is, and there may be 100,000 of them. */
function listed(
  { network, subscriber, rule, exception, lockRule, stepRule }: Config,
  path: string,
  file: string,
): string[] {
  const own = subscriber.filter(({ place }) => place.file === file);
  const lists: Readonly<Record<string, readonly unknown[]>> = {
    ...{ network, rule, exception, subscriber: own },
    lock_rule: lockRule,
    step_rule: stepRule,
  };
  const all = lists[path] ?? [];
  return all.map((_, i) => `${path}[${i}]`);
}

function cameFrom(origin: Origin | undefined, file: string, value: unknown): string {
  const from = origin?.line === undefined ? 'default' : `${file}:${origin.line}`;
  return origin?.written === 'auto' && value !== 'auto' ? `${from}, "auto"` : from;
}
