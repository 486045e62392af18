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
  /** what was read: the text with the lines of faulty statements empty, so line numbers hold */
  readonly text: string;
};

const MAX_FAULTS = 20;

const ASSIGNMENT = /^[ \t]*[\w"'-][\w"'. \t-]*=/;
// A line that ends in a comma is an element of a list of lists.
const HEADER = /^[ \t]*\[(?!.*,[ \t]*(#.*)?\r?$)/;

/** What the parser says, where it can be said better. */
const CLEARER: Readonly<Record<string, string>> = {
  'invalid value': 'no value of TOML; a text stands in double quotes',
  'trying to redefine an already defined table or value': 'this key or table is already there further up',
  'illegal character in numeric literal': 'no number; a value with a unit stands in double quotes',
  'unfinished string': 'the text has no closing quote',
  'control characters are not allowed in strings':
    'the text has no closing quote on its line, or a control character in it',
  'unfinished array': 'the list has no closing "]"',
  'unfinished table': 'the table has no closing "}"',
  'incomplete key-value: cannot find end of key': 'a key without "="',
  'expected comma or end of structure': 'a comma or a closing bracket is missing before this',
  'expected end of table array declaration': 'the header has no closing "]]"',
  'each key-value declaration must be followed by an end-of-line': 'something stands behind the value',
  'illegal character in key': 'expected KEY = VALUE or [TABLE]',
  'unexpected end of key': 'a value without a key',
};

export function readToml(text: string): Toml {
  const lines = text.split('\n');
  const faults: SyntaxFault[] = [];
  while (faults.length < MAX_FAULTS) {
    const rest = lines.join('\n');
    try {
      return { data: parse(rest, { integersAsBigInt: 'asNeeded', maxDepth: 16 }), faults, text: rest };
    } catch (error) {
      if (!(error instanceof TomlError)) throw error;
      const { fault, from, end } = locate(lines, error);
      faults.push(fault);
      lines.fill('', from, end);
    }
  }
  return { data: {}, faults, text: '' };
}

/** What the fault is, and which lines have to go for the rest to be read. */
function locate(lines: readonly string[], error: TomlError): { fault: SyntaxFault; from: number; end: number } {
  const at = Math.min(error.line, lines.length) - 1;
  const said = (error.message.split('\n')[0] ?? '').replace(/^Invalid TOML document: /, '');
  const fault = { line: error.line, column: error.column, message: CLEARER[said] ?? said };
  const start = findBack(lines, at);
  const from = start < at && isOpen(lines.slice(start, at)) ? start : at;
  // The parser notices a list that was not closed only where the next statement begins: the list is to blame.
  const before = isStart(lines[at]) && at > 0 ? findBack(lines, at - 1) : at;
  if (before < at && isOpen(lines.slice(before, at))) {
    const column = (lines[before] ?? '').search(/[^ \t]/) + 1;
    const message = 'a list or table is not closed before the next key or table';
    return { fault: { line: before + 1, column, message }, from: before, end: at };
  }
  // The keys below a header that cannot be read would count as the table's before it.
  if (HEADER.test(lines[from] ?? '')) return { fault, from, end: findOn(lines, at + 1, (line) => HEADER.test(line)) };
  return { fault, from, end: isOpen(lines.slice(from, at + 1)) ? findOn(lines, at + 1, isStart) : at + 1 };
}

function isStart(line: string | undefined): boolean {
  return line !== undefined && (ASSIGNMENT.test(line) || HEADER.test(line));
}

/** The line at which the statement that line `at` is part of begins; `at` itself when none is found. */
function findBack(lines: readonly string[], at: number): number {
  for (let i = at; i >= 0; i--) if (isStart(lines[i])) return i;
  return at;
}

function findOn(lines: readonly string[], at: number, isIt: (line: string) => boolean): number {
  const found = lines.findIndex((line, i) => i >= at && isIt(line));
  return found < 0 ? lines.length : found;
}

/** Whether brackets are open at the end of an assignment's lines. Texts and comments do not count. */
function isOpen(lines: readonly string[]): boolean {
  const [first = '', ...rest] = lines;
  if (!ASSIGNMENT.test(first)) return false;
  const value = [first.replace(ASSIGNMENT, ''), ...rest].join('\n');
  const bare = value.replace(/"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#.*/g, '');
  return bare.replace(/[^[{]/g, '').length > bare.replace(/[^\]}]/g, '').length;
}
