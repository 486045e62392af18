/**
 * TOML text to plain values. The parser stops at its first fault; here the faulty statement is left out and the rest
 * parsed again, so that one run shows every fault.
 */
import { parse, TomlError } from 'smol-toml';

export type SyntaxFault = { readonly line: number; readonly column: number; readonly message: string };

export type Toml = {
  /** null-prototype objects, arrays, text, number, bigint beyond 2^53, boolean, Date */
  readonly data: Readonly<Record<string, unknown>>;
  readonly faults: readonly SyntaxFault[];
};

const MAX_FAULTS = 20;

const START_OF_STATEMENT = /^[ \t]*(\[\[?[ \t]*[\w"'-]|[\w"'.-][\w"'. \t-]*=)/;
const HEADER = /^[ \t]*\[\[?[ \t]*[\w"'-]/;

/** What the parser says, where it can be said better. */
const CLEARER: Readonly<Record<string, string>> = {
  'invalid value': 'no value of TOML; a text stands in double quotes',
  'trying to redefine an already defined table or value': 'this key or table is already there further up',
  'unfinished string': 'the text has no closing quote',
  'unfinished array': 'the list has no closing "]"',
  'unfinished table': 'the table has no closing "}"',
  'incomplete key-value: cannot find end of key': 'a key without "="',
  'expected comma or end of structure': 'a comma or a closing bracket is missing before this',
  'illegal character in key': 'this cannot stand in a key; expected KEY = VALUE or [TABLE]',
  'unexpected end of key': 'a value without a key',
};

export function readToml(text: string): Toml {
  const lines = text.split('\n');
  const faults: SyntaxFault[] = [];
  while (faults.length < MAX_FAULTS) {
    try {
      const data = parse(lines.join('\n'), { integersAsBigInt: 'asNeeded', maxDepth: 16 });
      return { data, faults };
    } catch (error) {
      if (!(error instanceof TomlError)) throw error;
      const said = (error.message.split('\n')[0] ?? '').replace(/^Invalid TOML document: /, '');
      faults.push({ line: error.line, column: error.column, message: CLEARER[said] ?? said });
      if (!leaveOut(lines, error.line - 1)) break;
    }
  }
  return { data: {}, faults };
}

/**
 * Empties the statement that line `at` is part of. A header goes with everything up to the next header, since its keys
 * would otherwise count as the table's before it. False when there was nothing left to empty.
 */
function leaveOut(lines: string[], at: number): boolean {
  let from = at;
  while (from > 0 && lines[from]?.trim() !== '' && !START_OF_STATEMENT.test(lines[from] as string)) from--;
  if (lines[from]?.trim() === '' && from < at) from++;
  const next = HEADER.test(lines[from] ?? '') ? HEADER : START_OF_STATEMENT;
  let end = at + 1;
  while (end < lines.length && !next.test(lines[end] as string)) end++;
  const changes = lines.slice(from, end).some((line) => line !== '');
  lines.fill('', from, end);
  return changes;
}
