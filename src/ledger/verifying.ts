/**
 * Hosts that did not accept our certificate, each with the server that it called: remembered for a time, in
 * state_dir/verifying.json.
 *
 * What is decided on this memory is the workers' (setting "verifying"). The oldest is forgotten when there are too many, and
 * what a crash loses is learned again from the next refusal: neither loses mail.
 */
import { readFileSync } from 'node:fs';
import type { Clock } from '../kit/clock.ts';
import { writeAtomically } from '../kit/files.ts';
import type { Log } from '../kit/log.ts';
import { listOf, object } from '../kit/shape.ts';
import { MAX_PAIRS, type VerifyingPair, type VerifyingTold } from './language.ts';
import { isVerifyingPair } from './language-check.ts';

type Pair = Pick<VerifyingPair, 'subject' | 'server'>;

const isFile = object<{ readonly pairs: readonly VerifyingPair[] }>({ pairs: listOf(isVerifyingPair, MAX_PAIRS) });

export class Verifying {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #tell: (told: readonly VerifyingTold[]) => void;
  readonly #byKey = new Map<string, VerifyingPair>();
  #isUnwritten = false;
  #hasFailed = false;

  /** `tell` hears of every change. */
  constructor(path: string, clock: Clock, log: Log, tell: (told: readonly VerifyingTold[]) => void) {
    this.#path = path;
    this.#clock = clock;
    this.#log = log;
    this.#tell = tell;
    this.#load();
  }

  /** Those that are remembered, oldest first. */
  list(): readonly VerifyingPair[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#byKey.values()].filter(({ until }) => until > nowMs);
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** The host has refused our certificate, just now. */
  remember(pair: Pair, forMs: number): void {
    const key = keyOf(pair);
    const nowMs = this.#clock.nowMs();
    const before = this.#byKey.get(key);
    const found = {
      ...{ subject: pair.subject, server: pair.server, since: before?.since ?? nowMs, until: nowMs + forMs },
      ...{ carried: before?.carried ?? 0, bytes: before?.bytes ?? 0 },
    };
    this.#byKey.delete(key);
    this.#byKey.set(key, found);
    const told: VerifyingTold[] = [found];
    const [oldest] = this.#byKey.values();
    if (this.#byKey.size > MAX_PAIRS && oldest) {
      this.#byKey.delete(keyOf(oldest));
      told.push({ ...oldest, until: 0 });
    }
    this.#changed(told);
  }

  /** One of its connections has been carried. */
  carried(pair: Pair, bytes: number): void {
    const found = this.#byKey.get(keyOf(pair));
    if (!found) return;
    this.#byKey.set(keyOf(pair), { ...found, carried: found.carried + 1, bytes: found.bytes + bytes });
    this.#isUnwritten = true;
  }

  /** Undefined when it was not remembered. */
  forget(pair: Pair): VerifyingPair | undefined {
    const found = this.#byKey.get(keyOf(pair));
    if (!found) return undefined;
    this.#byKey.delete(keyOf(pair));
    this.#changed([{ ...found, until: 0 }]);
    return found;
  }

  /** Forgets those that have run out, and writes what has changed. */
  tidy(): void {
    const nowMs = this.#clock.nowMs();
    for (const [key, { until }] of this.#byKey) {
      if (until > nowMs) continue;
      this.#byKey.delete(key);
      this.#isUnwritten = true;
    }
    if (this.#isUnwritten) this.write();
  }

  write(): void {
    this.#isUnwritten = false;
    try {
      writeAtomically(
        this.#path,
        `${JSON.stringify({ version: 1, pairs: [...this.#byKey.values()] }, undefined, 1)}\n`,
      );
      this.#hasFailed = false;
    } catch (error) {
      this.#complain(error);
    }
  }

  #changed(told: readonly VerifyingTold[]): void {
    this.#isUnwritten = true;
    this.#tell(told.map(({ subject, server, until }) => ({ subject, server, until })));
  }

  #load(): void {
    try {
      const raw: unknown = JSON.parse(readFileSync(this.#path, 'utf8'));
      const { pairs } = raw as { pairs: unknown };
      if (!isFile({ pairs })) throw new Error('not a list of pairs');
      for (const pair of pairs as VerifyingPair[]) this.#byKey.set(keyOf(pair), pair);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#complain(error);
    }
  }

  #complain(error: unknown): void {
    if (!this.#hasFailed)
      this.#log.write('error', 'verifying.not-kept', {
        path: this.#path,
        error: String(error),
        effect: 'hosts that verify are met with our certificate once more',
      });
    this.#hasFailed = true;
    this.#isUnwritten = true;
  }
}

/** No subject has a blank in it. */
function keyOf({ subject, server }: Pair): string {
  return `${subject} ${server}`;
}
