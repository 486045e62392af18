/**
 * Connections to the servers: lent to one transaction at a time, kept while idle, and never more than the bound.
 *
 * Servers are tried in order. One that cannot be dialled is down: nobody waits for it, and it is probed after 1 s, then
 * less and less often, at least every 30 s, or each second while mail is turned away for it. One that is up is asked
 * every `refreshMs` what it offers. Whoever finds no connection waits in line, for a bounded time in a line of bounded
 * length, in which the sources take turns.
 */
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { Class } from '../policy/classes.ts';
import type { Extension } from '../smtp/transaction.ts';
import type { Dialled, DialFailure } from './dial.ts';
import { has, jittered, type Server } from './server.ts';
import { RSET, type Upstream } from './upstream.ts';

export type PoolOptions = {
  readonly servers: readonly Server[];
  readonly dial: (server: Server, signal?: AbortSignal) => Promise<Dialled>;
  readonly maxConnections: number;
  readonly idleMs: number;
  readonly refreshMs: number;
  readonly replyMs: number;
  readonly clock: Clock;
  readonly log: Log;
};

export type Want = {
  /** who waits: a source with many transactions does not go before all others */
  readonly source: string;
  readonly needs: readonly Extension[];
  /** monotonic: until when to wait */
  readonly untilMs: number;
  /** servers that are out of the question */
  readonly except: ReadonlySet<Server>;
  /** a connection that nobody has used: an idle one has just turned out to be dead */
  readonly isFresh: boolean;
  readonly isCancelled: () => boolean;
};

export type Lease = {
  readonly kind: 'lease';
  readonly server: Server;
  readonly upstream: Upstream;
  /** what the connection had answered when it was lent; above 0 for a new one too, by its banner and EHLO */
  readonly answeredBefore: number;
  readonly isReused: boolean;
};

type Waiter = {
  readonly want: Want;
  /** the line is in rounds, and each source has one place in each */
  readonly round: number;
  readonly resolve: (taken: Lease | DialFailure) => void;
  timer: NodeJS.Timeout | undefined;
  isDone: boolean;
};

export const MAX_WAITING = 1000;
/** How long a server that refused one more connection, while others stand, is not asked for another. */
const FULL_MS = 1000;

export class Pool {
  readonly #options: PoolOptions;
  readonly #queue: Waiter[] = [];
  /** the round that is being served */
  #round = 0;
  /** sockets that exist: being dialled, idle, lent, being closed */
  #open = 0;
  readonly #leaving = new Set<Upstream>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #closing = new AbortController();
  readonly #empty = Promise.withResolvers<void>();

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Asks every server; resolves when one has answered or all have failed. */
  start(): Promise<void> {
    const probes = this.#options.servers.map((server) => this.#probe(server));
    return new Promise((resolve) => {
      for (const probe of probes) void probe.then((isUp) => isUp && resolve());
      void Promise.all(probes).then(() => resolve());
    });
  }

  /** A connection, or why there is none. Resolves by `untilMs`. */
  take(want: Want): Lease | Promise<Lease | DialFailure> {
    const lease = this.#atOnce(want);
    if (lease) return lease;
    const round = this.#roundFor(want.source);
    if (this.#queue.length >= MAX_WAITING && !this.#turnAwayAfter(round)) {
      return Promise.resolve(failure('upstream.down', `${MAX_WAITING} transactions wait for a connection already`));
    }
    return new Promise((resolve) => {
      const waiter: Waiter = { want, round, resolve, timer: undefined, isDone: false };
      this.#queue.splice(this.#queue.findLastIndex((other) => other.round <= round) + 1, 0, waiter);
      this.#serve();
      if (waiter.isDone) return;
      const waitMs = Math.max(0, want.untilMs - this.#options.clock.monotonicMs());
      waiter.timer = setTimeout(() => {
        const busy = `no connection came free in time (${this.#open} of ${this.#options.maxConnections} open)`;
        this.#finish(waiter, failure('upstream.down', busy));
        this.#serve();
      }, waitMs);
    });
  }

  /**
   * Back from a transaction. `clean`: its last command was answered for good; `reset`: RSET first, and only its answer
   * makes the connection usable; `refused`: no recipient stands, so that the server holds nothing and RSET can go with the
   * next envelope. One with a fault, or with an open question, is closed.
   */
  giveBack(lease: Lease, how: 'clean' | 'reset' | 'refused'): void {
    const { server, upstream } = lease;
    if (!upstream.isClean) return upstream.poison('upstream.lost', 'given up with a command unanswered');
    const isWithNext = how === 'refused' && upstream.capabilities.pipelining;
    if (isWithNext) upstream.resetFirst();
    if (isWithNext || how === 'clean') {
      server.trust();
      return this.#keep(server, upstream);
    }
    const [reset] = upstream.exchange(RSET, ['rset'], this.#options.replyMs);
    void reset?.then((answer) => {
      if (answer.kind === 'fault') return;
      server.trust();
      this.#keep(server, upstream);
    });
  }

  /** Ends idle connections now, the others when they come back; resolves when the last one is closed. */
  close(): Promise<void> {
    if (!this.#closing.signal.aborted) {
      this.#closing.abort();
      for (const timer of this.#timers.values()) clearTimeout(timer);
      this.#timers.clear();
      for (const server of this.#options.servers) for (const upstream of server.idle.splice(0)) this.#quit(upstream);
    }
    if (this.#open > 0) return this.#empty.promise;
    return Promise.resolve();
  }

  /** Nobody waits, and the server that comes first has an idle one that suits: as nearly always. */
  #atOnce(want: Want): Lease | undefined {
    if (this.#queue.length > 0 || want.isFresh || want.isCancelled()) return undefined;
    for (const server of this.#options.servers) if (server.isProbeDue) return undefined;
    const [server] = this.#candidates(want, this.#options.clock.monotonicMs());
    const upstream = server && takeIdle(server, want.needs);
    return upstream && leaseOf(server, upstream, true);
  }

  /** The round behind the one that is served, or behind the source's last place. */
  #roundFor(source: string): number {
    let last = this.#round;
    for (const { want, round } of this.#queue) if (want.source === source && round > last) last = round;
    return last + 1;
  }

  /** The line is full: who waits in a later round than this gives up its place. False: there is none. */
  #turnAwayAfter(round: number): boolean {
    const last = this.#queue.at(-1);
    if (!last || last.round <= round) return false;
    this.#queue.pop();
    return this.#finish(last, failure('upstream.down', 'others wait for a connection that have fewer waiting'));
  }

  /** Hands out what there is: to due probes first, then to the line in order. */
  #serve(): void {
    for (const server of this.#closing.signal.aborted ? [] : this.#options.servers) {
      if (server.isProbeDue && !server.isProbing && this.#hasRoom) void this.#probe(server);
    }
    for (let waiter = this.#queue[0]; waiter; waiter = this.#queue[0]) {
      if (!waiter.isDone && waiter.want.isCancelled()) this.#finish(waiter, failure('session.gone', 'given up'));
      if (!waiter.isDone && !this.#serveOne(waiter)) return;
      this.#queue.shift();
      this.#round = Math.max(this.#round, waiter.round);
    }
  }

  get #hasRoom(): boolean {
    return this.#open < this.#options.maxConnections;
  }

  /** False: it has to wait on. */
  #serveOne(waiter: Waiter): boolean {
    const { want } = waiter;
    const now = this.#options.clock.monotonicMs();
    const candidates = this.#candidates(want, now);
    if (candidates.length === 0) {
      for (const server of this.#options.servers) if (server.isWorthAsking(now)) void this.#probe(server);
      return this.#finish(waiter, this.#refusal(want));
    }
    for (const server of candidates) {
      const upstream = want.isFresh ? undefined : takeIdle(server, want.needs);
      if (upstream) return this.#lend(waiter, server, upstream, true);
      if (this.#hasRoom && now >= server.noDialBeforeMs) {
        void this.#dialFor(waiter, server);
        return true;
      }
    }
    // Idle connections that do not suit are in the way.
    if (!this.#hasRoom && this.#leaving.size === 0) {
      const longestIdle = this.#options.servers.find((server) => server.idle.length > 0)?.idle.shift();
      if (longestIdle) this.#quit(longestIdle);
    }
    return false;
  }

  #candidates(want: Want, now: number): readonly Server[] {
    const possible = this.#options.servers.filter(
      (server) => server.state !== 'down' && !want.except.has(server) && suits(server.capabilities, want.needs),
    );
    if (possible.length < 2 || !possible.some((server) => server.isSuspect(now))) return possible;
    return possible.toSorted((a, b) => Number(a.isSuspect(now)) - Number(b.isSuspect(now)));
  }

  #refusal(want: Want): DialFailure {
    const left = this.#options.servers.filter((server) => !want.except.has(server));
    const lacking = left.find((server) => server.state !== 'down');
    if (lacking?.capabilities?.startTls === false && want.needs.includes('STARTTLS'))
      return failure('upstream.clear', `${lacking.name} offers no TLS`);
    if (lacking) return failure('upstream.extension', `${lacking.name} lacks one of ${want.needs.join(', ')}`);
    const classes = new Set(left.map((server) => server.failure?.class));
    const [only] = classes;
    const says = left.map((server) => `${server.name}: ${server.failure?.detail}`).join('; ');
    const isTelling = classes.size === 1 && (only === 'upstream.tls' || only === 'upstream.auth');
    return failure(isTelling ? only : 'upstream.down', says || 'no other server is left');
  }

  async #dialFor(waiter: Waiter, server: Server): Promise<void> {
    const upstream = await this.#dial(server);
    if (!upstream) {
      if (!waiter.isDone) this.#queue.unshift(waiter);
      return this.#serve();
    }
    const { want } = waiter;
    if (!waiter.isDone && !want.isCancelled() && suits(upstream.capabilities, want.needs)) {
      this.#lend(waiter, server, upstream, false);
      return;
    }
    if (!waiter.isDone) this.#queue.unshift(waiter);
    this.#keep(server, upstream);
  }

  /** Dials and remembers how it went. */
  async #dial(server: Server, signal?: AbortSignal): Promise<Upstream | undefined> {
    const { clock, log } = this.#options;
    this.#open++;
    server.dialling++;
    const dialled = await this.#options.dial(server, signal);
    server.dialling--;
    if (dialled.kind === 'failure') {
      this.#open--;
      this.#ended();
      if (signal?.aborted) return undefined;
      if (server.connected.size > 0 || (dialled.isBusy && server.dialling > 0)) {
        log.write('info', 'upstream.full', { server: server.name, detail: dialled.detail });
        server.noDialBeforeMs = clock.monotonicMs() + FULL_MS;
        this.#later(`full ${server.name}`, FULL_MS, () => this.#serve());
      } else if (server.failed(dialled, clock.nowMs(), clock.monotonicMs())) {
        log.write('warn', 'upstream.down', { server: server.name, class: dialled.class, detail: dialled.detail });
        if (!server.isProbing) this.#probeIn(server, server.nextBackoffMs());
      }
      return undefined;
    }
    const { upstream } = dialled;
    server.connected.add(upstream);
    upstream.whenGone(() => {
      this.#open--;
      this.#leaving.delete(upstream);
      server.connected.delete(upstream);
      const at = server.idle.indexOf(upstream);
      if (at >= 0) server.idle.splice(at, 1);
      this.#ended();
      this.#serve();
    });
    if (server.reached(upstream.capabilities, clock.nowMs(), clock.monotonicMs())) {
      log.write('info', 'upstream.up', { server: server.name, encrypted: upstream.tlsVersion !== undefined });
    }
    if (!server.isProbing) this.#probeIn(server, jittered(this.#options.refreshMs));
    return upstream;
  }

  /** A dial for its own sake: is it up, what does it offer? The connection is kept for use. */
  async #probe(server: Server): Promise<boolean> {
    server.isProbing = true;
    server.isProbeDue = false;
    const upstream = await this.#dial(server, this.#closing.signal);
    server.isProbing = false;
    this.#probeIn(server, server.state === 'up' ? jittered(this.#options.refreshMs) : server.nextBackoffMs());
    if (upstream) this.#keep(server, upstream);
    else this.#serve();
    return upstream !== undefined;
  }

  #probeIn(server: Server, ms: number): void {
    this.#later(`probe ${server.name}`, ms, () => {
      server.isProbeDue = true;
      // One that is down takes up no connection of the bound unless it answers, so its probe does not wait for room.
      if (server.state === 'down' && !server.isProbing) void this.#probe(server);
      else this.#serve();
    });
  }

  #later(key: string, ms: number, run: () => void): void {
    clearTimeout(this.#timers.get(key));
    if (!this.#closing.signal.aborted) this.#timers.set(key, setTimeout(run, ms));
  }

  #lend(waiter: Waiter, server: Server, upstream: Upstream, isReused: boolean): true {
    return this.#finish(waiter, leaseOf(server, upstream, isReused));
  }

  #finish(waiter: Waiter, taken: Lease | DialFailure): true {
    if (waiter.isDone) return true;
    waiter.isDone = true;
    clearTimeout(waiter.timer);
    waiter.resolve(taken);
    return true;
  }

  /** A clean connection that nobody uses: the next in line gets it, or it is idle, or it makes room. */
  #keep(server: Server, upstream: Upstream): void {
    const { servers, maxConnections, clock } = this.#options;
    const isInTheWay =
      this.#open > maxConnections || (!this.#hasRoom && servers.some((other) => other.isProbeDue && !other.isProbing));
    if (this.#closing.signal.aborted || isInTheWay || !upstream.isClean) this.#quit(upstream);
    else {
      upstream.idleSinceMs = clock.monotonicMs();
      server.idle.push(upstream);
      if (!this.#timers.has('idle')) this.#sweepLater();
    }
    this.#serve();
  }

  #sweepLater(): void {
    this.#later('idle', Math.max(20, this.#options.idleMs / 4), () => {
      this.#timers.delete('idle');
      const { servers, idleMs, clock } = this.#options;
      const before = clock.monotonicMs() - idleMs;
      for (const { idle } of servers) {
        while (idle[0] && idle[0].idleSinceMs <= before) this.#quit(idle.shift() as Upstream);
      }
      if (servers.some(({ idle }) => idle.length > 0)) this.#sweepLater();
    });
  }

  #quit(upstream: Upstream): void {
    if (upstream.fault) return;
    this.#leaving.add(upstream);
    upstream.quit();
  }

  #ended(): void {
    if (this.#open === 0 && this.#closing.signal.aborted) this.#empty.resolve();
  }
}

function leaseOf(server: Server, upstream: Upstream, isReused: boolean): Lease {
  return { kind: 'lease', server, upstream, isReused, answeredBefore: upstream.answered };
}

function suits(capabilities: Server['capabilities'], needs: readonly Extension[]): boolean {
  return capabilities === undefined || needs.every((extension) => has(capabilities, extension));
}

/** The last used of a server's idle connections that suits; what has died meanwhile is left out. */
function takeIdle(server: Server, needs: readonly Extension[]): Upstream | undefined {
  const at = server.idle.findLastIndex((upstream) => upstream.isClean && suits(upstream.capabilities, needs));
  return at < 0 ? undefined : server.idle.splice(at, 1)[0];
}

function failure(of: Class, detail: string): DialFailure {
  return { kind: 'failure', class: of, detail };
}
