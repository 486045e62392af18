/** The C programs, built at run time into .cache/bench, and what they say as typed values. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Namespace } from '../src/lab/network.ts';

export const cacheDir = join(import.meta.dirname, '../.cache/bench');

const SOURCES = ['load', 'sink', 'syn'] as const;
const ANSWER_MS = 10_000;
/** beyond the time a run was asked for: sessions that are under way end by themselves or by their own deadline */
const LOAD_GRACE_MS = 60_000;

export type Histogram = {
  readonly count: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
};
export const PHASES = ['connect', 'banner', 'ehlo', 'mail', 'rcpt', 'data', 'body', 'quit'] as const;

/** What load.c prints. Rates are messages per second; in the mode `reject`, refusals. */
export type LoadResult = {
  readonly started: number;
  readonly sessions: number;
  readonly messages: number;
  readonly failed: number;
  readonly late: number;
  readonly messageBytes: number;
  /** of what ended within the measured time */
  readonly rate: number;
  /** of all, from the first one's beginning to the last one's end: for messages that take long */
  readonly rateToEnd: number;
  readonly message: Histogram;
  readonly phases: Readonly<Record<(typeof PHASES)[number], Histogram>>;
  readonly replies: Readonly<Record<string, number>>;
  /** what was not as it was wanted: replies, errors, ends and time-outs, by the phase they came in */
  readonly errors: Readonly<Record<string, number>>;
};

/** The options of load.c, by their names there. */
export type LoadOptions = {
  readonly mode?: 'deliver' | 'reject' | 'pipelined' | 'idle' | 'knock';
  readonly sources?: string;
  readonly rcpt?: string;
  readonly seconds?: number;
  readonly warmup?: number;
  readonly rate?: number;
  readonly connections?: number;
  readonly messages?: number;
  readonly size?: number;
  readonly dots?: number;
  readonly count?: number;
  readonly 'timeout-ms'?: number;
};

export type SinkCounts = {
  readonly connections: number;
  readonly open: number;
  readonly messages: number;
  readonly bytes: number;
  readonly refused: number;
  readonly stray: number;
  readonly unanswered: number;
};

/** Compile what is older than its source. Throws with the compiler's words. */
export function buildPrograms(): void {
  mkdirSync(cacheDir, { recursive: true });
  const changed = (path: string): number => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  for (const name of SOURCES) {
    const source = join(import.meta.dirname, `${name}.c`);
    const newest = Math.max(changed(source), changed(join(import.meta.dirname, 'common.h')));
    if (changed(program(name)) > newest) continue;
    execFileSync('gcc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', program(name), source], {
      stdio: ['ignore', 'inherit', 'inherit'],
      timeout: 60_000,
    });
  }
}

export function program(name: (typeof SOURCES)[number]): string {
  return join(cacheDir, name);
}

export function loadArguments(to: string, options: LoadOptions): string[] {
  return ['--to', to, ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])];
}

/** One run of the generator to its end. Rejects when it cannot run; what went wrong with sessions is in the result. */
export async function load(where: Namespace, to: string, options: LoadOptions): Promise<LoadResult> {
  const runMs = ((options.seconds ?? 1) + (options.warmup ?? 0)) * 1000;
  const ran = await where.run(program('load'), loadArguments(to, options), { deadlineMs: runMs + LOAD_GRACE_MS });
  if (ran.code !== 0) throw new Error(`load ended with ${ran.code}: ${ran.stderr.trim()}`);
  return JSON.parse(ran.stdout) as LoadResult;
}

/** What went wrong in a run, in words; empty when nothing did. */
export function complaints({ errors }: LoadResult): string {
  return Object.entries(errors)
    .map(([what, count]) => `${count} × ${what}`)
    .join(', ');
}

/** A program that answers a line with a line. */
export class Talker {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #events = new EventEmitter();

  constructor(child: ChildProcess) {
    if (!child.stdout) throw new Error('no pipe');
    this.#child = child;
    createInterface(child.stdout).on('line', (line) => {
      this.#lines.push(line);
      this.#events.emit('line');
    });
  }

  /** The next line that nobody has had. */
  async line(deadlineMs = ANSWER_MS): Promise<string> {
    const signal = AbortSignal.timeout(deadlineMs);
    for (;;) {
      const line = this.#lines.shift();
      if (line !== undefined) return line;
      await once(this.#events, 'line', { signal });
    }
  }

  ask(text: string): Promise<string> {
    this.#child.stdin?.write(`${text}\n`);
    return this.line();
  }

  /** Its input ends, and with it the program. */
  async end(): Promise<void> {
    const ended = once(this.#child, 'close');
    this.#child.stdin?.end();
    await ended;
  }
}

export class Sink {
  readonly #talker: Talker;

  private constructor(talker: Talker) {
    this.#talker = talker;
  }

  static async start(where: Namespace, listen: readonly string[]): Promise<Sink> {
    const talker = new Talker(where.spawn(program('sink'), listen, { stdio: ['pipe', 'pipe', 'inherit'] }));
    await talker.line();
    return new Sink(talker);
  }

  async counts(): Promise<SinkCounts> {
    return JSON.parse(await this.#talker.ask('stats')) as SinkCounts;
  }
}
