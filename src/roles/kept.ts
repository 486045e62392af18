/**
 * One process that is kept running: started, watched, started again when it ends.
 *
 * The first restart comes at once, since a connection may be waiting in the listener. A process that keeps ending young
 * is started ever more slowly, up to every 5 s; one that lived 10 s, or longer where others died young before it, has
 * earned a fresh start.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { machineMs } from '../kit/clock.ts';
import type { Launch } from './launch.ts';

const FIRST_DELAY_MS = 100;
const LAST_DELAY_MS = 5_000;
const PROVEN_MS = 10_000;
const PATIENCE_MS = 5_000;
/** as systemd gives a start */
const START_PATIENCE_MS = 60_000;

/** How long to wait before the next start, after `youngDeaths` ends in a row. */
export function restartDelayMs(youngDeaths: number): number {
  return youngDeaths <= 1 ? 0 : Math.min(FIRST_DELAY_MS * 2 ** (youngDeaths - 2), LAST_DELAY_MS);
}

export type Ended = {
  readonly pid: number | undefined;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** it could not even be started */
  readonly error: string | undefined;
  readonly livedMs: number;
  /** undefined: it was told to stop */
  readonly restartInMs: number | undefined;
};

export type KeptOptions = {
  readonly launch: Launch;
  /** made anew for each start */
  readonly stdio: () => StdioOptions;
  readonly onStart: (child: ChildProcess) => void;
  readonly onEnd: (ended: Ended) => void;
};

export class Kept {
  readonly #options: KeptOptions;
  #child: ChildProcess | undefined;
  /** as machineMs */
  #startedAt = 0;
  #youngDeaths = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;
  #onGone: (() => void)[] = [];

  constructor(options: KeptOptions) {
    this.#options = options;
    this.#start();
  }

  /** Milliseconds since it was last started; undefined while it is not running. */
  get ageMs(): number | undefined {
    return this.#child && machineMs() - this.#startedAt;
  }

  /**
   * How old it must be before it is ended for not answering, in milliseconds. `answeredAt` is when it, or the one before
   * it, answered last, as machineMs. One that has not answered yet is still starting, which takes its time on a busy
   * machine, and ending it would only begin that again: a minute. Else 5 s, and twice as long after each that died young.
   */
  patienceMs(answeredAt: number | undefined): number {
    if (answeredAt === undefined || answeredAt < this.#startedAt) return START_PATIENCE_MS;
    return this.#provenPatienceMs;
  }

  get #provenPatienceMs(): number {
    return Math.min(PATIENCE_MS * 2 ** this.#youngDeaths, START_PATIENCE_MS);
  }

  /** Sends a signal if it is running. */
  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** SIGTERM, after `timeoutMs` SIGKILL; resolves when it is gone. It is not started again. */
  async stop(timeoutMs: number): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    if (!this.#child) return;
    const gone = new Promise<void>((resolve) => this.#onGone.push(resolve));
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), timeoutMs);
    await gone;
    clearTimeout(timer);
  }

  #start(): void {
    const { launch, stdio, onStart } = this.#options;
    this.#startedAt = machineMs();
    const child = spawn(launch.file, launch.args, {
      cwd: '/',
      env: { ...launch.env },
      stdio: stdio(),
      // A session of its own: Ctrl-C at the terminal is for the supervisor, which then ends the roles in their order.
      detached: true,
    });
    this.#child = child;
    child.once('error', (error) => {
      // Also emitted when a signal could not be sent to a running one.
      if (child.pid === undefined) this.#ended(null, null, error.message);
    });
    child.once('exit', (code, signal) => this.#ended(code, signal, undefined));
    onStart(child);
  }

  #ended(code: number | null, signal: NodeJS.Signals | null, error: string | undefined): void {
    const pid = this.#child?.pid;
    const livedMs = machineMs() - this.#startedAt;
    this.#child = undefined;
    // One that was ended when the patience with it was over has proven nothing.
    this.#youngDeaths = livedMs >= Math.max(PROVEN_MS, 2 * this.#provenPatienceMs) ? 0 : this.#youngDeaths + 1;
    const restartInMs = this.#stopping ? undefined : restartDelayMs(this.#youngDeaths);
    if (restartInMs !== undefined) this.#timer = setTimeout(() => this.#start(), restartInMs);
    this.#options.onEnd({ pid, code, signal, error, livedMs: Math.round(livedMs), restartInMs });
    for (const resolve of this.#onGone.splice(0)) resolve();
  }
}
