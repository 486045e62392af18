/**
 * The journal as the keeper sees it: attempts go in and never hold anybody up, questions come out.
 *
 * SQLite lives in two threads, one that writes and one that reads. Attempts are gathered for half a second, or until they
 * are 500: the fewer transactions, the less a row costs. A keeper that is killed has lost these and no others; a search
 * has them written first. A batch that cannot be written (disk full, read-only, EIO) waits and is tried again each second.
 * 10,000 attempts or 32 MiB may wait; what comes then is dropped and counted.
 */
import { Worker } from 'node:worker_threads';
import type { Fields, Level, Log } from '../kit/log.ts';
import type { Attempt } from './events.ts';
import type { Retention } from './journalfile.ts';
import type {
  HistoryQuestion,
  HistoryRow,
  JournalState,
  LogAnswer,
  ReceiverRow,
  ReceiversQuestion,
  SourceRow,
  SourcesQuestion,
  SumRow,
  SumsQuestion,
  TopQuestion,
  TopRow,
} from './query.ts';
import { Reader } from './reader.ts';
import { batchOf } from './rows.ts';
import type { Search } from './search.ts';

export type { Retention } from './journalfile.ts';

export type WriterData = { readonly path: string; readonly retention: Retention };
export type ToWriter =
  | { readonly kind: 'write' /** each the JSON of a Batch */; readonly batches: readonly string[] }
  | { readonly kind: 'retention'; readonly retention: Retention }
  | { readonly kind: 'replace'; readonly reason: string }
  | { readonly kind: 'close' };
export type FromWriter =
  | { readonly kind: 'written'; readonly lost: number }
  | { readonly kind: 'failed'; readonly problem: string }
  | {
      readonly kind: 'state';
      readonly problem: string | undefined;
      readonly sizeBytes: number;
      readonly oldest: number | undefined;
    }
  | { readonly kind: 'log'; readonly level: Level; readonly event: string; readonly fields: Fields }
  | { readonly kind: 'closed' };

const BATCH_EVENTS = 500;
const GATHER_MS = 500;
const MAX_WAITING = 10_000;
/** in UTF-16 units of JSON */
const MAX_WAITING_LENGTH = 32 * 1024 * 1024;
const RETRY_MS = 1_000;
/** a write, or a sign of life, that takes longer is a trouble that shows */
const SILENT_MS = 5_000;
const MAX_SEARCHES = 16;
/** how long a search waits for what was appended before it */
const WRITE_FIRST_MS = 2_000;
const CLOSE_TIMEOUT_MS = 5_000;

export interface Journal {
  append(attempts: readonly Attempt[]): void;
  /**
   * Finds what was appended before, too, unless it cannot be written. Rejects with a sentence for people when the
   * journal cannot be read, is too slow or has too many to answer.
   */
  search(search: Search): Promise<LogAnswer>;
  /** The same for sums. */
  top(question: TopQuestion): Promise<readonly TopRow[]>;
  sources(question: SourcesQuestion): Promise<readonly SourceRow[]>;
  sums(question: SumsQuestion): Promise<readonly SumRow[]>;
  history(question: HistoryQuestion): Promise<readonly HistoryRow[]>;
  receivers(question: ReceiversQuestion): Promise<readonly ReceiverRow[]>;
  state(): JournalState;
  keep(retention: Retention): void;
  /** Writes what waits, for at most 5 s; what is left then counts as dropped. */
  close(): Promise<void>;
}

/** Attempts as the JSON of a Batch. */
type Waiting = { readonly count: number; readonly json: string };

export function openJournal(path: string, first: Retention, log: Log): Journal {
  let retention = first;
  let waiting: Waiting[] = [];
  let waitingCount = 0;
  let waitingLength = 0;
  let sent: Waiting[] = [];
  let sentCount = 0;
  let written = 0;
  let dropped = 0;
  let problem: string | undefined = 'not opened yet';
  let sizeBytes = 0;
  let oldest: number | undefined;
  let heardMs = performance.now();
  let retryAtMs = 0;
  let gathering: NodeJS.Timeout | undefined;
  /** all that were ever taken into `waiting` */
  let taken = 0;
  /** searches that wait until so many have been written */
  let hurried: { readonly upTo: number; readonly go: () => void }[] = [];
  /** that were asked and not answered */
  let searches = 0;
  let closing = false;
  let dropping = false;
  /** the file has been open once, and a look for damage deep in it begun */
  let checked = false;
  const { promise: closed, resolve: isClosed } = Promise.withResolvers<void>();
  const { promise: idle, resolve: isIdle } = Promise.withResolvers<void>();

  const drop = (howMany: number, why: string): void => {
    if (howMany === 0) return;
    if (!dropping) log.write('error', 'journal.dropping', { why, effect: 'attempts go unrecorded; mail goes on' });
    dropping = true;
    dropped += howMany;
  };
  const setProblem = (next: string | undefined): void => {
    if (next !== problem) {
      if (next !== undefined) log.write('error', 'journal.problem', { path, problem: next });
      else log.write('info', 'journal.ok', { path, waiting: waitingCount, dropped });
    }
    problem = next;
  };

  let writer = startWriter();
  const reader = new Reader({ path, log, onDamage: (reason) => tellWriter({ kind: 'replace', reason }) });

  function startWriter(): Worker {
    const workerData: WriterData = { path, retention };
    const thread = new Worker(new URL('./writer.thread.ts', import.meta.url), { workerData, name: 'journal writer' });
    thread.on('message', onWriter);
    thread.on('error', (error) => log.write('error', 'journal.thread-died', { error: String(error) }));
    thread.on('exit', () => {
      if (closing) return isClosed();
      // What was on its way may have been written: ids keep it from being written twice.
      putBack();
      setTimeout(() => {
        if (!closing) writer = startWriter();
      }, RETRY_MS);
    });
    return thread;
  }

  function onWriter(message: FromWriter): void {
    heardMs = performance.now();
    switch (message.kind) {
      case 'written':
        written += sentCount - message.lost;
        drop(message.lost, 'the journal does not take them');
        sent = [];
        sentCount = 0;
        dropping = message.lost > 0;
        setProblem(undefined);
        opened();
        served(taken - waitingCount);
        gather();
        break;
      case 'failed':
        putBack();
        served(taken);
        setProblem(message.problem);
        retryAtMs = performance.now() + RETRY_MS;
        setTimeout(next, RETRY_MS);
        break;
      case 'state':
        setProblem(message.problem);
        if (message.problem === undefined) {
          ({ sizeBytes, oldest } = message);
          opened();
        }
        gather();
        break;
      case 'log':
        log.write(message.level, message.event, message.fields);
        break;
      case 'closed':
        isClosed();
        break;
    }
  }

  function opened(): void {
    if (!checked) reader.check();
    checked = true;
  }

  function putBack(): void {
    waiting = [...sent, ...waiting];
    sent = [];
    count();
    const before = waitingCount;
    while (waitingCount > MAX_WAITING) {
      waiting.pop();
      count();
    }
    drop(before - waitingCount, 'too many wait');
  }

  function count(): void {
    waitingCount = waiting.reduce((sum, one) => sum + one.count, 0);
    waitingLength = waiting.reduce((sum, one) => sum + one.json.length, 0);
    sentCount = sent.reduce((sum, one) => sum + one.count, 0);
  }

  /** Sends the next batch when it is large enough or somebody waits for it, otherwise when the time is over. */
  function gather(): void {
    if (closing || hurried.length > 0 || waitingCount >= BATCH_EVENTS) next();
    else if (waitingCount > 0) gathering ??= setTimeout(next, GATHER_MS);
  }

  /** Sends the next batch, unless one is on its way or it is too early after a failure. */
  function next(): void {
    clearTimeout(gathering);
    gathering = undefined;
    if (closing && sent.length + waiting.length === 0) isIdle();
    if (sent.length > 0 || waiting.length === 0 || performance.now() < retryAtMs) return;
    let events = 0;
    let batches = 0;
    for (; batches < waiting.length && events < BATCH_EVENTS; batches++) events += (waiting[batches] as Waiting).count;
    sent = waiting.splice(0, batches);
    count();
    heardMs = performance.now();
    tellWriter({ kind: 'write', batches: sent.map(({ json }) => json) });
  }

  function tellWriter(message: ToWriter): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    writer.postMessage(message);
  }

  function served(upTo: number): void {
    for (const one of hurried) if (one.upTo <= upTo) one.go();
    hurried = hurried.filter((one) => one.upTo > upTo);
  }

  /** Resolves when all that has come is written, or shows that it cannot be. */
  async function writeFirst(): Promise<void> {
    if (sentCount + waitingCount === 0 || problem !== undefined) return;
    const written = new Promise<void>((go) => hurried.push({ upTo: taken, go }));
    next();
    await Promise.race([written, pause(WRITE_FIRST_MS)]);
  }

  /** Asks when what waits is written; rejects when it cannot be asked, or by too many at once. */
  async function asked<T>(ask: () => Promise<T>): Promise<T> {
    if (!checked) throw new Error(`the journal cannot be read: ${problem ?? 'not opened yet'}`);
    if (searches >= MAX_SEARCHES) throw new Error('too many searches at once; try again');
    searches++;
    try {
      await writeFirst();
      return await ask();
    } finally {
      searches--;
    }
  }

  return {
    append(attempts) {
      for (let at = 0; at < attempts.length; at += BATCH_EVENTS) {
        const room = closing || waitingLength > MAX_WAITING_LENGTH ? 0 : MAX_WAITING - waitingCount;
        const some = attempts.slice(at, at + Math.min(BATCH_EVENTS, room));
        drop(
          Math.min(BATCH_EVENTS, attempts.length - at) - some.length,
          closing ? 'the keeper is ending' : 'too many wait',
        );
        if (some.length === 0) continue;
        const json = JSON.stringify(batchOf(some));
        waiting.push({ count: some.length, json });
        waitingCount += some.length;
        waitingLength += json.length;
        taken += some.length;
      }
      gather();
    },
    search: (search) => asked(() => reader.search(search)),
    top: (question) => asked(() => reader.top(question)),
    sources: (question) => asked(() => reader.sources(question)),
    sums: (question) => asked(() => reader.sums(question)),
    history: (question) => asked(() => reader.history(question)),
    receivers: (question) => asked(() => reader.receivers(question)),
    state() {
      const silentMs = performance.now() - heardMs;
      const silent =
        silentMs > SILENT_MS ? `the disk has not answered for ${Math.round(silentMs / 1000)} s` : undefined;
      const wrong = problem ?? silent;
      return {
        ok: wrong === undefined,
        problem: wrong,
        path,
        sizeBytes,
        written,
        dropped,
        waiting: waitingCount + sentCount,
        oldest,
      };
    },
    keep(changed) {
      retention = changed;
      tellWriter({ kind: 'retention', retention });
    },
    async close() {
      closing = true;
      next();
      await Promise.race([idle, pause(CLOSE_TIMEOUT_MS)]);
      drop(waitingCount + sentCount, 'the keeper ended before they were written');
      tellWriter({ kind: 'close' });
      await Promise.race([closed, pause(1_000)]);
      await Promise.race([Promise.all([writer.terminate(), reader.close()]), pause(1_000)]);
    },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
