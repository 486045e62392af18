/** What is wrong with a configuration, said so that one can go and change it: file, line, key, value, what was expected. */
import { safeJson } from '../kit/log.ts';
import type { Lines } from './lines.ts';

export type ConfigError = {
  readonly file: string;
  /** counted from 1; 0 when it is about the file as a whole */
  readonly line: number;
  /** `network[2].prefixes`, counted from 0; empty when it is about the text of the file */
  readonly key: string;
  /** the value as shown, cut and without controls; undefined when there is none or it might be a secret */
  readonly value: string | undefined;
  readonly expected: string;
  /** all of it: `FILE:LINE: KEY = VALUE: expected …` */
  readonly message: string;
};

/** Tell what is wrong with a key. `value` is the value as read from the file, undefined when there is none to show. */
export type Report = (key: string, value: unknown, expected: string) => void;

const MAX_SHOWN = 120;
const MAX_ERRORS = 500;

export function configError(error: Omit<ConfigError, 'message'>): ConfigError {
  const { file, line, key, value, expected } = error;
  const where = line > 0 ? `${file}:${line}` : file;
  const what = value === undefined ? cut(key) : `${cut(key)} = ${value}`;
  return { ...error, message: `${where}: ${what === '' ? '' : `${what}: `}expected ${expected}` };
}

/** Collects the first 500 errors; `errors` gives them in the order of the file. */
export class Reporter {
  readonly #file: string;
  readonly #lines: Lines;
  readonly #errors: ConfigError[] = [];

  constructor(file: string, lines: Lines) {
    this.#file = file;
    this.#lines = lines;
  }

  readonly report: Report = (key, value, expected) => {
    if (this.#errors.length >= MAX_ERRORS) return;
    const shown = value === undefined ? undefined : shownValue(key, value);
    this.#errors.push(configError({ file: this.#file, line: this.#lines(key), key, value: shown, expected }));
  };

  get errors(): readonly ConfigError[] {
    return this.#errors.toSorted((a, b) => a.line - b.line);
  }
}

/** A value as it goes into a message. What could be a secret in the wrong place is not shown. */
export function shownValue(key: string, value: unknown): string {
  if (/passw|passphrase|secret|token|credential/i.test(lastPart(key)) && !String(value).startsWith('/'))
    return '(hidden)';
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  return cut(safeJson(value));
}

function cut(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

function lastPart(key: string): string {
  return key.slice(key.lastIndexOf('.') + 1);
}
