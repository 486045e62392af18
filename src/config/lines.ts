/**
 * On which line of a TOML text each key and each element stands. The TOML parser says what a file means, not where.
 *
 * Reads valid TOML; on anything else it is harmless (it ends, it does not throw) but its lines may be wrong. A key is
 * spelled as in messages: `network[1].prefixes[0]`, counted from 0.
 */

/** The line of a key, counted from 1; of a key that is not there, the line of the nearest table around it, else 1. */
export type Lines = (key: string) => number;

/** `a.b`; a key that is no bare key is quoted. */
export function join(path: string, key: string): string {
  const shown = /^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key);
  return path === '' ? shown : `${path}.${shown}`;
}

/** The key around a key: `a[1].b[0]` in `a[1].b` in `a[1]` in `a`; of a top-level key, the empty text. */
function around(key: string): string {
  return key.replace(/(\[\d+\]|\.?("(?:[^"\\]|\\.)*"|[^.[\]"]*))$/, '');
}

// Arrays and inline tables nest; the configuration needs two levels.
const MAX_DEPTH = 32;

export function indexLines(text: string): Lines {
  const lines = new Map<string, number>();
  /** how many tables each [[header]] has opened so far */
  const opened = new Map<string, number>();
  let at = text.startsWith('\ufeff') ? 1 : 0;
  let line = 1;

  const note = (key: string, where: number): void => {
    if (!lines.has(key)) lines.set(key, where);
  };

  /** Move over one character. */
  const step = (): void => {
    if (text[at] === '\n') line++;
    at++;
  };

  /** Move over blanks and comments, and over line ends when `lineEnds` is set. */
  const skip = (lineEnds: boolean): void => {
    while (at < text.length) {
      const c = text[at] as string;
      if (c === '#') while (at < text.length && text[at] !== '\n') at++;
      else if (c === ' ' || c === '\t' || (lineEnds && (c === '\n' || c === '\r'))) step();
      else return;
    }
  };

  /** Move over a string of any of the four kinds and return what is between its quotes, escapes as they stand. */
  const quoted = (): string => {
    const quote = text[at] as string;
    const end = text.startsWith(quote.repeat(3), at) ? quote.repeat(3) : quote;
    at += end.length;
    const from = at;
    while (at < text.length && !text.startsWith(end, at)) {
      if (end.length === 1 && text[at] === '\n') return text.slice(from, at);
      if (quote === '"' && text[at] === '\\') step();
      if (at < text.length) step();
    }
    // A multi-line string may end in up to two quotes of its own before the closing three.
    while (end.length === 3 && text[at + 3] === quote) at++;
    const content = text.slice(from, at);
    at = Math.min(at + end.length, text.length);
    return content;
  };

  /** Move over a dotted key and return its parts; empty when there is none here. */
  const keyParts = (): string[] => {
    const parts: string[] = [];
    while (at < text.length) {
      skip(false);
      const c = text[at];
      if (c === '"' || c === "'") {
        parts.push(c === '"' ? unescape(quoted()) : quoted());
      } else {
        const bare = /[A-Za-z0-9_-]*/y;
        bare.lastIndex = at;
        const [word = ''] = bare.exec(text) ?? [];
        if (word === '') return parts;
        parts.push(word);
        at += word.length;
      }
      skip(false);
      if (text[at] !== '.') return parts;
      at++;
    }
    return parts;
  };

  /** Move over a value and note the lines of what is in it. */
  const value = (key: string, depth: number): void => {
    const c = text[at];
    if (c === '"' || c === "'") quoted();
    else if (c === '[' && depth < MAX_DEPTH) {
      at++;
      for (let i = 0; ; i++) {
        if (!element(']')) return;
        const from = at;
        note(`${key}[${i}]`, line);
        value(`${key}[${i}]`, depth + 1);
        if (at === from) return;
      }
    } else if (c === '{' && depth < MAX_DEPTH) {
      at++;
      while (element('}')) assignment(key, depth + 1);
    } else while (at < text.length && !/[,\]}#\n]/.test(text[at] as string)) at++;
  };

  /** Move to the next element of an array or inline table; false, and behind its end, when there is none. */
  const element = (end: string): boolean => {
    skip(true);
    if (text[at] === ',') {
      at++;
      skip(true);
    }
    if (at >= text.length || text[at] === ',') return false;
    if (text[at] !== end) return true;
    at++;
    return false;
  };

  /** `key = value` below `table`. Always moves on. */
  const assignment = (table: string, depth: number): void => {
    const from = at;
    const where = line;
    let key = table;
    for (const part of keyParts()) {
      key = join(key, part);
      note(key, where);
    }
    if (text[at] === '=') {
      at++;
      skip(false);
      value(key, depth);
    }
    if (at === from) step();
  };

  /** `[table]` or `[[table]]`: returns the key that the following assignments are below. */
  const header = (): string => {
    const where = line;
    const isList = text.startsWith('[[', at);
    at += isList ? 2 : 1;
    const parts = keyParts();
    let table = '';
    for (const [i, part] of parts.entries()) {
      table = join(table, part);
      note(table, where);
      if (isList && i === parts.length - 1) opened.set(table, (opened.get(table) ?? 0) + 1);
      const count = opened.get(table);
      if (count !== undefined) table = `${table}[${count - 1}]`;
      note(table, where);
    }
    while (at < text.length && text[at] === ']') at++;
    return table;
  };

  for (let table = ''; ; ) {
    skip(true);
    if (at >= text.length) break;
    if (text[at] === '[') table = header();
    else assignment(table, 0);
  }

  return (key) => {
    for (let near = key; ; ) {
      const where = lines.get(near);
      if (where !== undefined) return where;
      const next = around(near);
      if (next === near) return 1;
      near = next;
    }
  };
}

function unescape(content: string): string {
  try {
    return String(JSON.parse(`"${content}"`));
  } catch {
    return content;
  }
}
