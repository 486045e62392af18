/**
 * The ledger as a worker sees it: may this source open one more connection, is it locked, remember this.
 *
 * Nothing here waits longer than 250 ms for the keeper and nothing here throws: a keeper that is away leads to what
 * `gateway.keeper_failure` says, and to records that wait, and are counted when there are too many.
 */
import type { Clock } from '../kit/clock.ts';
import { type Channel, connectChannel } from '../kit/channel.ts';
import type { Log } from '../kit/log.ts';
import type { WorkerEvent } from '../record/events.ts';
import { Holdings } from './holdings.ts';
import { checkFromKeeper, type FromKeeper, type Lock, MAX_BATCH, type ToKeeper, VERSION } from './language.ts';
import { type LockTable, lockTable } from './locktable.ts';
import { Outbox } from './outbox.ts';

export const ADMIT_TIMEOUT_MS = 250;
const FLUSH_MS = 200;

/** `away`: the keeper cannot be asked and `keeper_failure` is "defer". */
export type Admission = 'ok' | 'over' | 'away';

export type LedgerSettings = {
  /** gateway.workers: what one worker's share of a limit is made of */
  readonly workers: number;
  readonly keeperFailure: 'local' | 'defer';
};

export interface Ledger {
  /**
   * May one more connection of this source (`sourceOf(address)`) be opened? After `ok`, `release` it once when it ends.
   * Answers within 250 ms and never rejects.
   */
  admit(source: string, limit: number): Promise<Admission>;
  release(source: string): void;
  /** The lock that holds for this address now; the last known ones while the keeper is away. */
  lockOf(address: string): Lock | undefined;
  /** Resolves when the locks have come from the keeper for the first time. */
  readonly ready: Promise<void>;
  record(event: WorkerEvent): void;
  isUp(): boolean;
  /** New settings after a reload. */
  configure(settings: LedgerSettings): void;
  /** Sends what waits, for at most a second, and ends the connection. */
  close(): Promise<void>;
}

export type LedgerOptions = LedgerSettings & {
  /** the keeper's socket: `keeperSocket(run_dir)` */
  readonly path: string;
  readonly worker: number;
  readonly clock: Clock;
  readonly log: Log;
};

type Ask = { readonly source: string; readonly limit: number; resolve: ((answer: Admission) => void) | undefined };

export function createLedger(options: LedgerOptions, signal: AbortSignal): Ledger {
  let settings: LedgerSettings = options;
  let locks: LockTable = lockTable([]);
  const { promise: ready, resolve: isReady } = Promise.withResolvers<void>();
  const holdings = new Holdings();
  const outbox = new Outbox();
  const asks = new Map<number, Ask>();
  let lastAsk = 0;
  let unsent: { ask: number; source: string; limit: number }[] = [];
  let released: string[] = [];

  const say = (message: ToKeeper): boolean => channel.send(message);

  /** Without the keeper: this worker's own share of the limit, or no. */
  const alone = (source: string, limit: number): Admission => {
    if (settings.keeperFailure === 'defer') return 'away';
    if (holdings.held(source) >= Math.max(1, Math.floor(limit / settings.workers))) return 'over';
    holdings.take(source);
    return 'ok';
  };
  const answerAlone = (ask: Ask): void => {
    const { resolve } = ask;
    ask.resolve = undefined;
    resolve?.(alone(ask.source, ask.limit));
  };

  const sendAsks = (): void => {
    const all = unsent;
    unsent = [];
    for (let at = 0; at < all.length; at += MAX_BATCH) {
      const batch = all.slice(at, at + MAX_BATCH);
      if (say({ kind: 'admit', asks: batch })) {
        setTimeout(() => {
          for (const { ask } of batch) {
            const late = asks.get(ask);
            // It stays in `asks`: the keeper may still answer, and may then have counted it.
            if (late?.resolve) answerAlone(late);
          }
        }, ADMIT_TIMEOUT_MS);
      } else {
        for (const { ask } of batch) {
          const one = asks.get(ask);
          asks.delete(ask);
          if (one) answerAlone(one);
        }
      }
    }
  };
  const onAnswer = (number: number, ok: boolean): void => {
    const ask = asks.get(number);
    if (!ask) return;
    asks.delete(number);
    if (ok) holdings.told(ask.source, 1);
    if (ask.resolve) {
      if (ok) holdings.take(ask.source);
      ask.resolve(ok ? 'ok' : 'over');
      return;
    }
    const surplus = holdings.surplus(ask.source);
    if (surplus > 0) giveBack(ask.source);
    else if (surplus < 0) declare([{ source: ask.source, count: -surplus }]);
  };

  /** One connection of the source is no longer ours; told to the keeper with the others of this turn of the loop. */
  const giveBack = (source: string): void => {
    holdings.told(source, -1);
    if (released.length === 0) setImmediate(sendReleases);
    released.push(source);
  };
  const sendReleases = (): void => {
    while (released.length > 0) {
      if (!say({ kind: 'release', sources: released.slice(0, MAX_BATCH) })) return;
      released.splice(0, MAX_BATCH);
    }
  };
  const declare = (held: readonly { readonly source: string; readonly count: number }[]): void => {
    for (let at = 0; at < held.length; at += MAX_BATCH) {
      const sources = held.slice(at, at + MAX_BATCH);
      if (say({ kind: 'hold', sources })) for (const { source, count } of sources) holdings.told(source, count);
    }
  };

  const flush = (): void => {
    sendReleases();
    if (channel.isUp()) outbox.flush((batch) => say({ kind: 'events', batch }));
  };

  const onMessage = (message: FromKeeper): void => {
    if (message.kind === 'locks') {
      locks = lockTable(message.locks);
      isReady();
    } else if (message.kind === 'admitted') {
      for (const { ask, ok } of message.answers) onAnswer(ask, ok);
    }
  };

  const channel: Channel = connectChannel<FromKeeper>(
    options.path,
    {
      check: checkFromKeeper,
      onMessage,
      onUp(send) {
        send({ kind: 'hello', v: VERSION, role: 'worker', worker: options.worker } satisfies ToKeeper);
        options.log.write('info', 'keeper.up');
        declare(holdings.forgotten());
        flush();
      },
      onDown(reason) {
        options.log.write('warn', 'keeper.away', { reason });
        released = [];
        unsent = [];
        holdings.forgotten();
        const open = [...asks.values()];
        asks.clear();
        for (const ask of open) answerAlone(ask);
      },
    },
    signal,
  );
  const timer = setInterval(flush, FLUSH_MS);
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });

  return {
    ready,
    admit(source, limit) {
      if (!channel.isUp()) return Promise.resolve(alone(source, limit));
      return new Promise((resolve) => {
        const ask = ++lastAsk;
        asks.set(ask, { source, limit, resolve });
        if (unsent.length === 0) setImmediate(sendAsks);
        unsent.push({ ask, source, limit });
      });
    },
    release(source) {
      holdings.drop(source);
      if (holdings.surplus(source) > 0) giveBack(source);
    },
    lockOf: (address) => locks.find(address, options.clock.nowMs()),
    record(event) {
      outbox.put(event);
      if (outbox.isFull && channel.isUp()) flush();
    },
    isUp: () => channel.isUp(),
    configure(next) {
      settings = next;
    },
    async close() {
      clearInterval(timer);
      flush();
      await channel.close();
    },
  };
}
