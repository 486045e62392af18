/**
 * The dead-man's switch: while workers answer, an element with a timeout of 3 s is put into a kernel set once a second.
 * Interception holds as long as the element does. Nobody has to be alive for it to lapse.
 *
 * Every worker is asked twice a second whether or not it has answered the last time, so that one late answer costs
 * nothing: on a machine whose processors are all busy an answer may take a second, and that trips nothing. A worker that
 * has been silent for 2 s while others go on is reported, for whoever can replace it.
 */
import type { Clock } from '../kit/clock.ts';
import { probe } from './probe.ts';

const PROBE_EVERY_MS = 500;
const PROBE_DEADLINE_MS = 2_000;
const TICK_MS = 100;
/** An answer of this age still says that a worker is alive. */
const ANSWER_COUNTS_MS = 2_500;
const REFRESH_EVERY_MS = 1_000;
/** After a lapse or a failure it is tried more often, but not at every tick: each try is a process. */
const RETRY_EVERY_MS = 250;
export const ELEMENT_TIMEOUT_S = 3;
const SILENT_MS = 2_000;

export type WorkerState = {
  readonly worker: number;
  /** milliseconds since its last answer; undefined before the first */
  readonly answeredMs: number | undefined;
  /** questions without an answer so far */
  readonly failures: number;
};

export type SwitchOptions = {
  readonly workers: number;
  readonly probePath: (worker: number) => string;
  /** puts the element in, or renews it; rejects when it could not */
  readonly refresh: () => Promise<void>;
  /** `answeredAt`: its last answer, as the clock's monotonicMs; undefined when it never has answered */
  readonly onSilent: (worker: number, answeredAt: number | undefined) => void;
  readonly onTurn: (alive: boolean) => void;
  readonly clock: Clock;
};

type Worker = {
  readonly number: number;
  answeredAt: number | undefined;
  /** since when it is silent, or when that was last reported */
  quietSince: number;
  failures: number;
};

export class Switch {
  readonly #options: SwitchOptions;
  readonly #workers: Worker[];
  #timers: NodeJS.Timeout[] = [];
  #refreshing = false;
  #triedAt = Number.NEGATIVE_INFINITY;
  #aliveUntil = Number.NEGATIVE_INFINITY;
  #alive = false;
  #turnedAt: number;

  constructor(options: SwitchOptions) {
    this.#options = options;
    this.#turnedAt = options.clock.nowMs();
    const now = options.clock.monotonicMs();
    this.#workers = Array.from({ length: options.workers }, (_, i) => ({
      number: i + 1,
      answeredAt: undefined,
      quietSince: now,
      failures: 0,
    }));
  }

  start(): void {
    this.#askAll();
    this.#timers = [setInterval(() => this.#askAll(), PROBE_EVERY_MS), setInterval(() => this.#tick(), TICK_MS)];
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** Is the element in force, as far as we know, and since when has that been so (milliseconds since 1970)? */
  state(): { readonly alive: boolean; readonly since: number; readonly workers: readonly WorkerState[] } {
    const now = this.#options.clock.monotonicMs();
    return {
      alive: this.#alive,
      since: this.#turnedAt,
      workers: this.#workers.map(({ number, answeredAt, failures }) => ({
        worker: number,
        answeredMs: answeredAt === undefined ? undefined : Math.round(now - answeredAt),
        failures,
      })),
    };
  }

  /** At most deadline/interval questions to one worker are open at a time. */
  #askAll(): void {
    for (const worker of this.#workers) {
      void probe(this.#options.probePath(worker.number), PROBE_DEADLINE_MS).then((answered) => {
        if (answered) worker.answeredAt = worker.quietSince = this.#options.clock.monotonicMs();
        else worker.failures++;
        if (answered && !this.#alive) this.#tick();
      });
    }
  }

  #tick(): void {
    const now = this.#options.clock.monotonicMs();
    for (const worker of this.#workers) {
      if (now - worker.quietSince < SILENT_MS) continue;
      worker.quietSince = now;
      this.#options.onSilent(worker.number, worker.answeredAt);
    }
    if (this.#workers.some(({ answeredAt }) => answeredAt !== undefined && now - answeredAt <= ANSWER_COUNTS_MS)) {
      if (now - this.#triedAt >= (this.#alive ? REFRESH_EVERY_MS : RETRY_EVERY_MS)) this.#refresh(now);
    }
    this.#turn(now < this.#aliveUntil);
  }

  #refresh(now: number): void {
    if (this.#refreshing) return;
    this.#refreshing = true;
    this.#triedAt = now;
    this.#options
      .refresh()
      .then(
        () => {
          // From now and not from when we asked: what we call lapsed has lapsed in the kernel, too.
          this.#aliveUntil = this.#options.clock.monotonicMs() + ELEMENT_TIMEOUT_S * 1000;
          this.#turn(true);
        },
        // The next tick tries again. The kernel's own clock runs meanwhile.
        () => {},
      )
      .finally(() => {
        this.#refreshing = false;
      });
  }

  #turn(alive: boolean): void {
    if (alive === this.#alive) return;
    this.#alive = alive;
    this.#turnedAt = this.#options.clock.nowMs();
    this.#options.onTurn(alive);
  }
}
