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
const MAX_FAILURES = 10;
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

  /** How long this key has to wait; 0 when it may try. */
  waitMs(key: string): number {
    const known = this.#known.get(key);
    if (!known || known.count < MAX_FAILURES) return 0;
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
