/** Who is logged in, and how often one may try: both in memory, and bounded. A restart of the keeper logs everybody out. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../kit/clock.ts';
import type { PersonTold } from '../ledger/language.ts';

export type Session = {
  readonly name: string;
  /** when this user was added, in milliseconds since 1970 */
  readonly since: number;
  /** what a change has to bring along: a page of another site cannot know it */
  readonly csrf: string;
  readonly until: number;
};

const MAX_SESSIONS = 1000;
const SESSION_MS = 12 * 3_600_000;
const FAILURES_MS = 15 * 60_000;
const MAX_KNOWN = 10_000;

export class Sessions {
  readonly #clock: Clock;
  readonly #sessions = new Map<string, Session>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The oldest makes room. */
  begin({ name, since }: Pick<PersonTold, 'name' | 'since'>): { readonly key: string; readonly session: Session } {
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size >= MAX_SESSIONS && oldest !== undefined) this.#sessions.delete(oldest);
    const key = randomBytes(32).toString('base64url');
    const csrf = randomBytes(32).toString('base64url');
    const session = { name, since, csrf, until: this.#clock.monotonicMs() + SESSION_MS };
    this.#sessions.set(key, session);
    return { key, session };
  }

  find(key: string): Session | undefined {
    const session = this.#sessions.get(key);
    if (session && session.until > this.#clock.monotonicMs()) return session;
    this.#sessions.delete(key);
    return undefined;
  }

  end(key: string): void {
    this.#sessions.delete(key);
  }
}

/** Counts failures by a key for a quarter of an hour from the first on. */
export class Failures {
  readonly #clock: Clock;
  readonly #known = new Map<string, { count: number; until: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How long this key has to wait; 0 when it may try: it has failed less than `most` times. */
  waitMs(key: string, most: number): number {
    const known = this.#known.get(key);
    if (!known || known.count < most) return 0;
    return Math.max(0, known.until - this.#clock.monotonicMs());
  }

  failed(key: string): void {
    const now = this.#clock.monotonicMs();
    const known = this.#known.get(key);
    if (known && known.until > now) {
      known.count++;
      return;
    }
    this.#known.delete(key);
    const [oldest] = this.#known.keys();
    if (this.#known.size >= MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(key, { count: 1, until: now + FAILURES_MS });
  }
}

/** Wrong passwords in a quarter of an hour: of one source for one name, of one source, for one name from everywhere. */
const MOST_WRONG = { pair: 10, source: 50, name: 200 } as const;

/** Who may try a password. A stranger who guesses a name's password locks nobody out who has come in from elsewhere. */
export class LogIns {
  readonly #failures: Failures;
  /** where a name has come in from, the latest last */
  readonly #good = new Set<string>();

  constructor(failures: Failures) {
    this.#failures = failures;
  }

  waitMs(name: string, source: string): number {
    const { pair, from, whole } = keysOf(name, source);
    return Math.max(
      this.#failures.waitMs(pair, MOST_WRONG.pair),
      this.#failures.waitMs(from, MOST_WRONG.source),
      this.#good.has(pair) ? 0 : this.#failures.waitMs(whole, MOST_WRONG.name),
    );
  }

  failed(name: string, source: string): void {
    for (const key of Object.values(keysOf(name, source))) this.#failures.failed(key);
  }

  passed(name: string, source: string): void {
    const { pair } = keysOf(name, source);
    this.#good.delete(pair);
    const [oldest] = this.#good;
    if (this.#good.size >= MAX_SESSIONS && oldest !== undefined) this.#good.delete(oldest);
    this.#good.add(pair);
  }
}

/** No name and no address has a space. */
function keysOf(name: string, source: string): Record<'pair' | 'from' | 'whole', string> {
  return { pair: `pair ${source} ${name}`, from: `from ${source}`, whole: `name ${name}` };
}
