/**
 * The keeper's side of its socket: who is connected, what each of them may say, and what all of them are told.
 *
 * A connection says hello before anything else. A worker may count and record, the guard may report, the CLI may ask;
 * whoever says what is not his, or leaves the list of locks unread, is cut off and comes back with a clean start.
 */
import { type Handlers, type Listener, listenChannel, type Peer } from '../kit/channel.ts';
import type { Log } from '../kit/log.ts';
import type { WorkerEvent } from '../record/events.ts';
import { Admission } from './admission.ts';
import type { Count, Need, Over } from './counters.ts';
import type { CounterFile } from './counterfile.ts';
import type { Inquiry, InquiryAnswer } from './inquiry.ts';
import {
  type FromKeeper,
  type KernelReport,
  type Lock,
  type Question,
  type Step,
  type ToKeeper,
  MAX_BATCH,
  MAX_TAKES,
  type SecuredTold,
  type TakenAnswer,
  type VerifyingTold,
} from './language.ts';
import { checkToKeeper } from './language-check.ts';
import type { Quotas } from './quotas.ts';
import { Recalls } from './recalls.ts';

export type Worker = { readonly worker: number; readonly since: number };

export type DeskOptions = {
  readonly path: string;
  readonly log: Log;
  readonly nowMs: () => number;
  readonly locks: () => readonly Lock[];
  readonly verifying: () => readonly VerifyingTold[];
  readonly secured: () => readonly SecuredTold[];
  readonly steps: () => readonly Step[];
  readonly limits: CounterFile;
  readonly quotas: Pick<Quotas, 'ruleFor'>;
  /** A worker was told that this is over its limit. */
  readonly onOver: (need: Need) => void;
  readonly onEvents: (worker: number, batch: readonly WorkerEvent[]) => void;
  readonly onWorkerGone: (worker: number) => void;
  readonly onKernel: (report: KernelReport) => void;
  readonly onMailed: (mailed: Omit<Extract<ToKeeper, { kind: 'mailed' }>, 'kind'>) => void;
  readonly inform: (inquiry: Inquiry) => InquiryAnswer;
  /** Resolves with the value of the answer; what it rejects with is told to who asked. */
  readonly answer: (question: Question) => Promise<unknown>;
};

export type Held = { readonly connections: number; readonly sources: number };

export interface Desk {
  /** Connections counted for max_connections, after workers have given back what they do not use: within 100 ms. */
  held(): Promise<Held>;
  /** What is counted of a subject's limits, after workers have given back what they do not use: within 3 s. */
  counted(subject: string): Promise<readonly Count[]>;
  workers(): readonly Worker[];
  /** Tells workers and guard the locks as they are now, once for all changes of this turn of the loop. */
  tellLocks(): void;
  /** Tells workers what has changed. */
  tellVerifying(pairs: readonly VerifyingTold[]): void;
  tellSecured(servers: readonly SecuredTold[]): void;
  /** The same for steps. */
  tellSteps(): void;
  /** Hands a mail of our own to a worker, each in its turn; false where there is none. */
  mail(mail: Omit<Extract<FromKeeper, { kind: 'mail' }>, 'kind'>): boolean;
  readonly closed: Promise<void>;
}

/** each at most 100 ms; a worker that is silent for so long is held to be dead by the guard */
const COUNTED_RECALLS = 30;
/** in one answer; the language allows 1,000 characters */
const MAX_ERROR = 900;

export async function openDesk(options: DeskOptions, signal: AbortSignal): Promise<Desk> {
  const admission = new Admission();
  /** those that are told of locks and steps */
  const listening = new Set<Peer>();
  const workers = new Map<number, { readonly peer: Peer; readonly since: number }>();
  /** all of their connections: one that was replaced may not have been noticed to be gone */
  const workerPeers = new Set<Peer>();
  const { quotas } = options;
  const { counters } = options.limits;
  const recalls = new Recalls('connections', () => workerPeers);
  const limitRecalls = new Recalls('limits', () => workerPeers);

  /** With the limits that have been earned. */
  const inForce = (needs: readonly Need[]): Need[] =>
    needs.map((need) =>
      need.rule.earned ? { ...need, rule: quotas.ruleFor(need.subject, need.rule, options.nowMs()) } : need,
    );
  const say = (peer: Peer, message: FromKeeper): void => {
    if (!peer.send(message)) void peer.close();
  };
  const messages = {
    locks: (): FromKeeper => ({ kind: 'locks', locks: options.locks() }),
    steps: (): FromKeeper => ({ kind: 'steps', steps: options.steps() }),
  } as const;
  const telling = new Set<keyof typeof messages>();
  const tellAll = (what: keyof typeof messages): void => {
    if (telling.has(what)) return;
    telling.add(what);
    setImmediate(() => {
      telling.delete(what);
      const message = messages[what]();
      for (const peer of listening) say(peer, message);
    });
  };
  const tellWorkers = (message: FromKeeper): void => {
    for (const peer of workerPeers) if (!peer.send(message)) void peer.close();
  };
  const answer = async (peer: Peer, ask: number, question: Question): Promise<void> => {
    let said: FromKeeper;
    try {
      // JSON has no undefined: an answer without a value is null.
      said = { kind: 'answer', ask, ok: true, value: (await options.answer(question)) ?? null };
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      said = { kind: 'answer', ask, ok: false, error: text.slice(0, MAX_ERROR) };
    }
    if (!peer.send(said)) {
      peer.send({
        kind: 'answer',
        ask,
        ok: false,
        error: 'the answer is too long; narrow the question down',
      } satisfies FromKeeper);
    }
  };

  const onConnection = (peer: Peer): Handlers<ToKeeper> => {
    let hello: Extract<ToKeeper, { kind: 'hello' }> | undefined;
    const refuse = (why: string): void => {
      options.log.write('warn', 'keeper.cut-off', { from: hello?.role, worker: hello?.worker, why });
      void peer.close();
    };
    const onHello = (message: Extract<ToKeeper, { kind: 'hello' }>): void => {
      if (hello) return refuse('said hello twice');
      hello = message;
      if (message.role === 'cli') return;
      if (message.role === 'worker') {
        if (message.worker === undefined) return refuse('a worker without a number');
        workers.set(message.worker, { peer, since: options.nowMs() });
        peer.send({ kind: 'verifying', isWhole: true, pairs: options.verifying() } satisfies FromKeeper);
        peer.send({ kind: 'secured', servers: options.secured() } satisfies FromKeeper);
        workerPeers.add(peer);
        recalls.joined();
        limitRecalls.joined();
      }
      options.log.write('info', 'keeper.joined', { from: message.role, worker: message.worker });
      listening.add(peer);
      // Steps first: whoever has heard of the locks has heard of all.
      say(peer, messages.steps());
      say(peer, messages.locks());
    };
    let answers: { ask: number; ok: boolean }[] = [];
    /** With the others that are decided in the same turn of the loop. */
    const tellAdmitted = (ask: number, ok: boolean): void => {
      if (answers.length === 0) {
        queueMicrotask(() => {
          const all = answers;
          answers = [];
          for (let at = 0; at < all.length; at += MAX_BATCH)
            peer.send({ kind: 'admitted', answers: all.slice(at, at + MAX_BATCH) } satisfies FromKeeper);
        });
      }
      answers.push({ ask, ok });
    };
    let taken: TakenAnswer[] = [];
    const tellTaken = (answer: TakenAnswer): void => {
      if (taken.length === 0) {
        queueMicrotask(() => {
          const all = taken;
          taken = [];
          // What a worker hears of is written down.
          options.limits.write();
          for (let at = 0; at < all.length; at += MAX_TAKES)
            peer.send({ kind: 'taken', answers: all.slice(at, at + MAX_TAKES) } satisfies FromKeeper);
        });
      }
      taken.push(answer);
    };
    /** Before a no, all workers are asked to give back what they hold of the subject that is over; once for each subject. */
    const take = (ask: number, needs: readonly Need[], asked: readonly string[] = []): void => {
      let over: Over | undefined;
      const subjectOver = (): string => needs[over?.over ?? 0]?.subject ?? '';
      const attempt = (): boolean => {
        const isTight = needs.some(({ subject }) => limitRecalls.isTight(subject));
        const held = inForce(needs);
        const result = counters.take(held, options.nowMs(), isTight ? 0 : workerPeers.size);
        over = 'over' in result ? result : undefined;
        if (!('over' in result)) {
          const leases = result.map((lease, i) => {
            const { earned, limit } = (held[i] as Need).rule;
            return earned ? { ...lease, limit } : lease;
          });
          tellTaken({ ask, ok: true, leases });
        }
        return over === undefined;
      };
      if (attempt()) return;
      const subject = subjectOver();
      limitRecalls.admit(peer, subject, attempt, (ok) => {
        if (ok || !over) return;
        const next = subjectOver();
        if (next !== subject && !asked.includes(next)) return take(ask, needs, [...asked, subject]);
        options.onOver(needs[over.over] as Need);
        tellTaken({ ask, ok: false, ...over });
      });
    };
    const fromWorker = (worker: number, message: ToKeeper): boolean => {
      switch (message.kind) {
        case 'events':
          options.onEvents(worker, message.batch);
          break;
        case 'admit':
          for (const { ask, source, limit } of message.asks)
            recalls.admit(
              peer,
              source,
              () => admission.admit(peer, source, limit),
              (ok) => tellAdmitted(ask, ok),
            );
          break;
        case 'inquire': {
          const answers = message.asks.map(({ ask, inquiry }) => ({ ask, answer: options.inform(inquiry) }));
          if (!peer.send({ kind: 'informed', answers } satisfies FromKeeper)) void peer.close();
          break;
        }
        case 'release':
          for (const { source, count } of message.sources) admission.release(peer, source, count);
          break;
        case 'returned':
          (message.of === 'limits' ? limitRecalls : recalls).returned(peer, message.recall);
          break;
        case 'take':
          for (const { ask, needs } of message.asks) take(ask, needs);
          break;
        case 'back':
          for (const { subject, rule, start, count } of message.items)
            counters.giveBack(subject, rule, start, count, options.nowMs());
          options.limits.write();
          break;
        case 'spent':
          counters.spend(inForce(message.needs), options.nowMs());
          options.limits.write();
          break;
        case 'mailed': {
          const { mail, code, reason } = message;
          options.onMailed({ mail, code, reason });
          break;
        }
        case 'hold':
          for (const { source, count } of message.sources) admission.hold(peer, source, count);
          break;
        case 'hello':
        case 'kernel':
        case 'ask':
          return false;
      }
      return true;
    };
    return {
      check: checkToKeeper,
      onMessage(message) {
        if (message.kind === 'hello') onHello(message);
        else if (!hello) refuse('said something before hello');
        else if (hello.role === 'cli' && message.kind === 'ask') void answer(peer, message.ask, message.question);
        else if (hello.role === 'guard' && message.kind === 'kernel') options.onKernel(message.report);
        else if (hello.role !== 'worker' || !fromWorker(hello.worker ?? 0, message))
          refuse(`"${message.kind}" is not his to say`);
      },
      onDown(why) {
        listening.delete(peer);
        admission.forget(peer);
        if (workerPeers.delete(peer)) {
          recalls.left(peer);
          limitRecalls.left(peer);
        }
        if (!hello || hello.role === 'cli') {
          if (!hello) options.log.write('warn', 'keeper.stranger', { why });
          return;
        }
        options.log.write('info', 'keeper.left', { from: hello.role, worker: hello.worker, why });
        // A worker that was replaced before its end was noticed is still there.
        if (hello.worker !== undefined && workers.get(hello.worker)?.peer === peer) {
          workers.delete(hello.worker);
          options.onWorkerGone(hello.worker);
        }
      },
    };
  };

  const { closed }: Listener = await listenChannel<ToKeeper>(options.path, { mode: 0o660, onConnection }, signal);
  return {
    closed,
    async held() {
      await recalls.all();
      return { connections: admission.connections, sources: admission.sources };
    },
    async counted(subject) {
      const nobody: Peer = { send: () => false, sendText: () => false, close: async () => {} };
      const recall = (): Promise<void> =>
        new Promise((resolve) =>
          limitRecalls.admit(
            nobody,
            subject,
            () => false,
            () => resolve(),
          ),
        );
      // A person can wait for a worker that is busy, longer than a message can.
      for (let asked = 0; asked === 0 || (asked < COUNTED_RECALLS && !limitRecalls.isTight(subject)); asked++)
        await recall();
      return counters.list(subject, options.nowMs());
    },
    workers: () =>
      Array.from(workers, ([worker, { since }]) => ({ worker, since })).sort((a, b) => a.worker - b.worker),
    tellVerifying: (pairs) => tellWorkers({ kind: 'verifying', isWhole: false, pairs }),
    tellSecured: (servers) => tellWorkers({ kind: 'secured', servers }),
    tellLocks: () => tellAll('locks'),
    tellSteps: () => tellAll('steps'),
    mail(mail) {
      const [next] = workers;
      if (!next) return false;
      // To the end of the line.
      workers.delete(next[0]);
      workers.set(...next);
      return next[1].peer.send({ kind: 'mail', ...mail } satisfies FromKeeper);
    },
  };
}
