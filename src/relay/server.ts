/** What is remembered of one configured server: whether it takes connections, since when, and what it offers. */
import type { Endpoint } from '../config/value/net.ts';
import type { Class } from '../policy/classes.ts';
import type { Capabilities } from '../smtp/capabilities.ts';
import type { Extension } from '../smtp/transaction.ts';
import type { Upstream } from './upstream.ts';

const FIRST_BACKOFF_MS = 1000;
const MAX_BACKOFF_MS = 30_000;

/** Spread by a tenth either way, so that the workers of a machine don't ask all at once. */
export function jittered(ms: number): number {
  return ms * (0.9 + 0.2 * Math.random());
}

const OFFERED: Readonly<Record<Extension, (capabilities: Capabilities) => boolean>> = {
  '8BITMIME': (c) => c.eightBitMime,
  SMTPUTF8: (c) => c.smtpUtf8,
  DSN: (c) => c.dsn,
  SIZE: (c) => c.size !== undefined,
  STARTTLS: (c) => c.startTls,
};

export const EXTENSIONS = Object.keys(OFFERED) as readonly Extension[];

export function has(capabilities: Capabilities, extension: Extension): boolean {
  return OFFERED[extension](capabilities);
}

export class Server {
  readonly endpoint: Endpoint;
  /** `unknown` until the first dial has ended; mail may be tried on it then, as on one that is up */
  state: 'unknown' | 'up' | 'down' = 'unknown';
  sinceMs: number;
  failure: { readonly class: Class; readonly detail: string } | undefined;
  /** of the last EHLO that it answered, and when; kept while it is down */
  capabilities: Capabilities | undefined;
  seenAtMs = 0;
  /** changes with `state` and `capabilities` */
  revision = 0;
  /** no new connection before this, though those that stand are used: it has refused one more */
  noDialBeforeMs = 0;
  /** unused connections, the last used at the end */
  readonly idle: Upstream[] = [];
  /** connections that have reached their EHLO, idle and lent */
  readonly connected = new Set<Upstream>();
  /** dials under way */
  dialling = 0;
  isProbing = false;
  isProbeDue = false;
  #failedAtMs = 0;
  #backoffMs = FIRST_BACKOFF_MS;
  #suspicionMs = FIRST_BACKOFF_MS;
  #suspectUntilMs = 0;
  readonly #ever = new Set<Extension>();

  constructor(endpoint: Endpoint, nowMs: number) {
    this.endpoint = endpoint;
    this.sinceMs = nowMs;
  }

  get name(): string {
    return this.endpoint.text;
  }

  everOffered(extension: Extension): boolean {
    return this.#ever.has(extension);
  }

  /** True when it was not up before. */
  reached(capabilities: Capabilities, nowMs: number, monotonicMs: number): boolean {
    const isNew = this.state !== 'up';
    this.revision++;
    if (isNew) this.sinceMs = nowMs;
    this.state = 'up';
    this.failure = undefined;
    this.noDialBeforeMs = 0;
    this.#backoffMs = FIRST_BACKOFF_MS;
    this.capabilities = capabilities;
    this.seenAtMs = monotonicMs;
    for (const extension of EXTENSIONS) if (has(capabilities, extension)) this.#ever.add(extension);
    return isNew;
  }

  /** True when it was not down before. */
  failed(failure: { readonly class: Class; readonly detail: string }, nowMs: number, monotonicMs: number): boolean {
    const isNew = this.state !== 'down';
    this.revision++;
    this.#failedAtMs = monotonicMs;
    if (isNew) this.sinceMs = nowMs;
    this.state = 'down';
    this.failure = failure;
    return isNew;
  }

  /** Until it is asked again: 1 s, then twice as long each time, at most 30 s. */
  nextBackoffMs(): number {
    const now = this.#backoffMs;
    this.#backoffMs = Math.min(2 * now, MAX_BACKOFF_MS);
    return jittered(now);
  }

  /**
   * It could not be reached, a second ago or longer: whoever is turned away for it has it asked again. What is down for
   * its certificate or our password waits its turn, since neither mends itself, and passwords get locked.
   */
  isWorthAsking(monotonicMs: number): boolean {
    const { state, isProbing, failure } = this;
    return (
      state === 'down' &&
      !isProbing &&
      failure?.class === 'upstream.down' &&
      monotonicMs - this.#failedAtMs >= FIRST_BACKOFF_MS
    );
  }

  isSuspect(monotonicMs: number): boolean {
    return monotonicMs < this.#suspectUntilMs;
  }

  /** A connection to it failed in use, though it can be dialled: others are preferred for 1 s, then longer each time. */
  suspect(monotonicMs: number): void {
    if (this.isSuspect(monotonicMs)) return;
    this.#suspectUntilMs = monotonicMs + this.#suspicionMs;
    this.#suspicionMs = Math.min(2 * this.#suspicionMs, MAX_BACKOFF_MS);
  }

  /** A connection to it came back clean. */
  trust(): void {
    this.#suspectUntilMs = 0;
    this.#suspicionMs = FIRST_BACKOFF_MS;
  }
}
