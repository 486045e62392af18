/**
 * One JSON object a line on standard output, for journald or a file.
 *
 * Strings are hostile: they may carry what a stranger typed after EHLO. JSON.stringify escapes C0 controls; DEL, C1,
 * line separators and bidirectional controls are escaped here as well, and every string is cut at 1,000 characters.
 */
import { type LineSink, lineSink } from './output.ts';

export type Level = 'debug' | 'info' | 'warn' | 'error';
export type Fields = Readonly<Record<string, unknown>>;

export interface Log {
  write(level: Level, event: string, fields?: Fields): void;
}

const MAX_STRING = 1000;
const MOST_A_SECOND = 100;
// biome-ignore format: one range per group
const UNSAFE = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** JSON text of a value with every string cut and no raw control or direction character in it. */
export function safeJson(value: unknown): string {
  // To be asked about every value makes JSON.stringify several times slower.
  const text = isPlain(value) ? JSON.stringify(value) : JSON.stringify(value, cut);
  return text.replace(UNSAFE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** One line of the log, without its end. */
export function logLine(role: string, level: Level, event: string, fields: Fields = {}): string {
  const head = `{"at":"${timeText(Date.now())}","level":"${level}","role":${safeJson(role)},"event":${safeJson(event)}`;
  const rest = safeJson(fields);
  return rest === '{}' ? `${head}}` : `${head},${rest.slice(1)}`;
}

let lastSecond = NaN;
let lastText = '';
/** `new Date(ms).toISOString()`; the second is spelt once for all that happens in it. */
export function timeText(ms: number): string {
  const second = Math.floor(ms / 1000);
  if (second !== lastSecond) {
    lastText = new Date(second * 1000).toISOString().slice(0, -'000Z'.length);
    lastSecond = second;
  }
  return `${lastText}${String(ms - second * 1000).padStart(3, '0')}Z`;
}

function cut(_key: string, item: unknown): unknown {
  if (typeof item === 'string' && item.length > MAX_STRING) return `${item.slice(0, MAX_STRING)}…`;
  return typeof item === 'bigint' ? item.toString() : item;
}

/** Nothing in it that `cut` would change. */
function isPlain(value: unknown): boolean {
  if (typeof value === 'string') return value.length <= MAX_STRING;
  if (typeof value !== 'object') return typeof value !== 'bigint';
  if (value === null) return true;
  if (Array.isArray(value)) return value.every(isPlain);
  if ('toJSON' in value) return false;
  for (const key in value) if (!isPlain((value as Record<string, unknown>)[key])) return false;
  return true;
}

/** The one output of this process. */
let output: LineSink | undefined;
const repetitions: Repetition[] = [];

/**
 * A log on standard output. Never waits and never throws: a reader that is slow or gone loses lines, which are counted.
 * Of one event at most 100 lines a second come out, then how many were left out; `endless` names those that all count.
 */
export function stdoutLog(role: string, endless: readonly string[] = []): Log {
  if (!output) {
    const sink = lineSink(1, role);
    output = sink;
    // Also when an error that nobody caught ends the process.
    process.once('exit', () => {
      for (const repetition of repetitions) repetition.end();
      sink.writeRest();
    });
  }
  const sink = output;
  const print = (level: Level, event: string, fields?: Fields): void => sink.line(logLine(role, level, event, fields));
  const repetition = new Repetition((of, lines) => print('warn', 'log.repeated', { of, lines }));
  repetitions.push(repetition);
  return {
    write(level, event, fields) {
      if (endless.includes(event) || repetition.isWithin(event)) print(level, event, fields);
    },
  };
}

/** Resolves when what was logged is written, at the latest after `timeoutMs`: before the process is ended. */
export async function logFlushed(timeoutMs: number): Promise<void> {
  for (const repetition of repetitions) repetition.end();
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([
    output?.flushed(),
    new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    }),
  ]);
  clearTimeout(timer);
}

export const silentLog: Log = { write() {} };

/** Bounds how often an event is told in a second, so that one that comes with every recipient is no flood. */
class Repetition {
  readonly #tell: (event: string, leftOut: number) => void;
  /** by event, of which the code has few */
  readonly #counts = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(tell: (event: string, leftOut: number) => void) {
    this.#tell = tell;
  }

  isWithin(event: string): boolean {
    this.#timer ??= setTimeout(() => this.end(), 1000).unref();
    const count = (this.#counts.get(event) ?? 0) + 1;
    this.#counts.set(event, count);
    return count <= MOST_A_SECOND;
  }

  /** The second is over. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const counts = [...this.#counts];
    this.#counts.clear();
    for (const [event, count] of counts) if (count > MOST_A_SECOND) this.#tell(event, count - MOST_A_SECOND);
  }
}
