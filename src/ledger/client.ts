/**
 * The ledger as a worker sees it: may this source open one more connection, is it locked, remember this.
 *
 * Nothing here waits longer than 250 ms for the keeper and nothing here throws: a keeper that is away leads to what
 * `gateway.keeper_failure` says, and to records that wait, and are counted when there are too many.
 */
import type { Clock } from '../kit/clock.ts';
import { type Channel, connectChannel } from '../kit/channel.ts';
import type { Log } from '../kit/log.ts';
import type { Mode } from '../policy/ladder.ts';
import type { WorkerEvent } from '../record/events.ts';
import { type Admission, Admitter, type LedgerSettings, SWEEP_MS } from './admitter.ts';
import { Inquirer } from './inquirer.ts';
import type { Inquiry, InquiryAnswer } from './inquiry.ts';
import { type FromKeeper, type Lock, MAX_REASON, type ToKeeper, VERSION } from './language.ts';
import { checkFromKeeper } from './language-check.ts';
import { type Locked, type LockTable, lockTable } from './locktable.ts';
import { Outbox } from './outbox.ts';
import { type Stepping, StepTable } from './steptable.ts';
import { Purse, type Taken } from './purse.ts';
import type { Need } from './counters.ts';
import { UntilTable } from './untiltable.ts';

export type { Admission, LedgerSettings } from './admitter.ts';
export type { Need } from './counters.ts';
export type { Taken } from './purse.ts';

/** a keeper that is handed a little often does not hold up a machine's processors as one that is handed much */
const FLUSH_MS = 50;
/** how long what a worker that ends has not told yet waits for a keeper that is away: as long as one takes to start */
const KEEPER_BACK_MS = 4_000;

export interface Ledger {
  /**
   * May one more connection of this source (`sourceOf(address)`) be opened? After `ok`, `release` it once when it ends.
   * Answers within 250 ms and never rejects; at once where this worker still has what an earlier connection was admitted.
   */
  admit(source: string, limit: number): Admission | Promise<Admission>;
  release(source: string): void;
  /**
   * May all of these be counted? Answers within 250 ms and never rejects; at once far from a limit. `slowFrom` is a part
   * of 1 from which on the answer is `slow`; 0 is never.
   */
  take(needs: readonly Need[], slowFrom: number): Taken | Promise<Taken>;
  /** They were taken at `atMs`, and it has not happened. */
  giveBack(needs: readonly Need[], atMs: number): void;
  /** The lock that holds for this address now; the last known ones while the keeper is away. */
  lockOf(address: string, of?: Omit<Locked, 'address'>): Lock | undefined;
  /** The same for an identity behind it. */
  lockOfIdentity(identity: string, of: Locked): Lock | undefined;
  /** Whether this subscriber has refused our certificate for this server (`203.0.113.25:25`), as far as is remembered. */
  isVerifying(subject: string, server: string): boolean;
  /** Whether this server that hosts call had TLS, as far as is remembered. */
  hadTls(server: string): boolean;
  /** The mode that a step gives it, in the place of the configuration's. */
  modeOf(whom: Stepping): Mode | undefined;
  /** Resolves when the locks have come from the keeper for the first time. */
  readonly ready: Promise<void>;
  /** What the keeper has seen of all workers; rejects when it does not say within 250 ms. */
  readonly inquire: (inquiry: Inquiry) => Promise<InquiryAnswer>;
  record(event: WorkerEvent): void;
  isUp(): boolean;
  /** New settings after a reload. */
  configure(settings: LedgerSettings): void;
  /** Sends what waits, first to be heard by a keeper that is just starting if need be, and ends the connection: 8 s at most. */
  close(): Promise<void>;
}

/** The far side's last code, 0 where there was none, and why. */
export type Mailed = { readonly code: number; readonly reason: string };

export type LedgerOptions = LedgerSettings & {
  /** the keeper's socket: `keeperSocket(run_dir)` */
  readonly path: string;
  readonly worker: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Sends a mail of our own; never rejects. */
  readonly onMail?: (to: string, bytes: Buffer) => Promise<Mailed>;
  /** after how long credit that is not used goes back: once or twice this */
  readonly sweepMs?: number;
};

export function createLedger(options: LedgerOptions, signal: AbortSignal): Ledger {
  let locks: LockTable = lockTable([]);
  const verifying = new UntilTable();
  const secured = new UntilTable();
  let steps = new StepTable();
  const { promise: ready, resolve: isReady } = Promise.withResolvers<void>();
  let cameUp = (): void => {};
  const outbox = new Outbox();
  const say = (message: ToKeeper): boolean => channel.send(message);
  const admitter = new Admitter(options, say);
  const inquirer = new Inquirer(say);
  const purse = new Purse(options, say, options.clock);

  const flush = (): void => {
    admitter.sendReleases();
    purse.sendBack();
    if (channel.isUp()) outbox.flush((json) => channel.sendText(json));
  };

  const onMessage = (message: FromKeeper): void => {
    if (message.kind === 'locks') {
      locks = lockTable(message.locks);
      isReady();
    } else if (message.kind === 'verifying') {
      verifying.told(
        message.pairs.map(({ subject, server, until }) => [pairKey(subject, server), until]),
        message.isWhole,
      );
    } else if (message.kind === 'secured') {
      secured.told(
        message.servers.map(({ server, until }) => [server, until]),
        false,
      );
    } else if (message.kind === 'steps') {
      steps = new StepTable(message.steps);
    } else if (message.kind === 'admitted') {
      for (const { ask, ok } of message.answers) admitter.answered(ask, ok);
    } else if (message.kind === 'informed') {
      for (const { ask, answer } of message.answers) inquirer.answered(ask, answer);
    } else if (message.kind === 'recall') {
      if (message.of === 'limits') purse.recalled(message.recall, message.sources);
      else admitter.recalled(message.recall, message.sources);
    } else if (message.kind === 'taken') {
      for (const answer of message.answers) purse.answered(answer);
    } else if (message.kind === 'mail') {
      const { mail, to, octets } = message;
      void options
        .onMail?.(to, Buffer.from(octets, 'base64'))
        .then(({ code, reason }) => say({ kind: 'mailed', mail, code, reason: reason.slice(0, MAX_REASON) }));
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
        admitter.up();
        purse.tellAlone();
        flush();
        cameUp();
      },
      onDown(reason) {
        options.log.write('warn', 'keeper.away', { reason });
        admitter.down();
        inquirer.down();
        purse.down();
      },
    },
    signal,
  );
  const sweep = (): void => {
    admitter.sweep();
    purse.sweep();
  };
  const timers = [setInterval(flush, FLUSH_MS), setInterval(sweep, options.sweepMs ?? SWEEP_MS)];
  const stopTimers = (): void => timers.forEach((timer) => clearInterval(timer));
  signal.addEventListener('abort', stopTimers, { once: true });

  return {
    ready,
    admit: (source, limit) => admitter.admit(source, limit, channel.isUp()),
    release: (source) => admitter.release(source),
    take: (needs, slowFrom) => purse.take(needs, slowFrom, channel.isUp()),
    giveBack: (needs, atMs) => purse.giveBack(needs, atMs),
    lockOf: (address, of) => locks.find(address, options.clock.nowMs(), of),
    lockOfIdentity: (identity, of) => locks.findIdentity(identity, of, options.clock.nowMs()),
    isVerifying: (subject, server) => verifying.has(pairKey(subject, server), options.clock.nowMs()),
    hadTls: (server) => secured.has(server, options.clock.nowMs()),
    modeOf: (whom) => steps.modeOf(whom, options.clock.nowMs()),
    inquire: (inquiry) => inquirer.ask(inquiry, channel.isUp()),
    record(event) {
      outbox.put(event);
      if (outbox.isFull && channel.isUp()) flush();
    },
    isUp: () => channel.isUp(),
    configure(settings) {
      admitter.configure(settings);
      purse.configure(settings);
    },
    async close() {
      stopTimers();
      purse.configure(options);
      if (!channel.isUp() && outbox.length > 0) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, KEEPER_BACK_MS);
          cameUp = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      flush();
      await channel.close();
    },
  };
}

/** No subject has a blank in it. */
function pairKey(subject: string, server: string): string {
  return `${subject} ${server}`;
}
