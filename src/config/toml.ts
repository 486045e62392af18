/** Values as TOML text, and the schema's tables in the order in which a file has them. */
import type { Field, Fields } from './field.ts';
import { join } from './lines.ts';

const MAX_LINE = 100;

/** Text, number, boolean or a list of these. Lists that are long stand one element a line. */
export function tomlValue(value: unknown): string {
  if (!Array.isArray(value)) return typeof value === 'string' ? tomlText(value) : String(value);
  const elements = value.map(tomlValue);
  const line = `[${elements.join(', ')}]`;
  return line.length <= MAX_LINE ? line : `[\n${elements.map((element) => `  ${element},\n`).join('')}]`;
}

/** JSON's escapes are TOML's; DEL is the one control that JSON leaves and TOML forbids (TOML 1.0, "String"). */
function tomlText(text: string): string {
  return JSON.stringify(text).replaceAll('\u007f', '\\u007f');
}

export type Section = {
  /** `filters.gtube`; a list's with no index */
  readonly path: string;
  /** `[filters.gtube]` or `[[network]]` */
  readonly header: string;
  readonly doc: string;
  readonly isList: boolean;
  /** a list that may have no element */
  readonly mayBeEmpty: boolean;
  /** its own keys, tables left out */
  readonly fields: readonly (readonly [key: string, field: Field<unknown>])[];
  /** the names of all that may stand in it, tables too */
  readonly keys: readonly string[];
};

/** Every table of the schema, one after the other; a table's own keys stand before the tables in it. */
export function sections(fields: Fields, path = ''): Section[] {
  return Object.entries(fields).flatMap(([key, entry]) => {
    if (entry.kind === 'field') return [];
    const here = join(path, key);
    const isList = entry.kind === 'list';
    const own = Object.entries(entry.fields).filter((e): e is [string, Field<unknown>] => e[1].kind === 'field');
    const header = isList ? `[[${here}]]` : `[${here}]`;
    return [
      {
        path: here,
        header,
        doc: entry.doc,
        isList,
        mayBeEmpty: entry.kind === 'list' && entry.mayBeEmpty,
        fields: own,
        keys: Object.keys(entry.fields),
      },
      ...sections(entry.fields, here),
    ];
  });
}

/** Text in comment lines of at most 100 characters. */
export function comment(text: string): string {
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > MAX_LINE && line !== '#') {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return [...lines, line].join('\n');
}
