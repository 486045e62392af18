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
import { type Attempt, weigh } from './events.ts';
import type { Retention } from './journalfile.ts';
import type { JournalState, LogAnswer } from './query.ts';
import { Reader } from './reader.ts';
import { type Batch, batchOf } from './rows.ts';
import type { Search } from './search.ts';

export type { Retention } from './journalfile.ts';

export type WriterData = { readonly path: string; readonly retention: Retention };
export type ToWriter =
  | { readonly kind: 'write'; readonly batch: Batch }
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
const MAX_WAITING_BYTES = 32 * 1024 * 1024;
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
  state(): JournalState;
  keep(retention: Retention): void;
  /** Writes what waits, for at most 5 s; what is left then counts as dropped. */
  close(): Promise<void>;
}

type Waiting = { readonly attempt: Attempt; readonly bytes: number };

export function openJournal(path: string, first: Retention, log: Log): Journal {
  let retention = first;
  let waiting: Waiting[] = [];
  let waitingBytes = 0;
  let sent: Waiting[] = [];
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
      else log.write('info', 'journal.ok', { path, waiting: waiting.length, dropped });
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
        written += sent.length - message.lost;
        drop(message.lost, 'the journal does not take them');
        sent = [];
        dropping = message.lost > 0;
        setProblem(undefined);
        opened();
        served(taken - waiting.length);
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
    waitingBytes = waiting.reduce((sum, one) => sum + one.bytes, 0);
    sent = [];
    const over = waiting.length - MAX_WAITING;
    if (over > 0) {
      waiting.length = MAX_WAITING;
      drop(over, 'too many wait');
    }
  }

  /** Sends the next batch when it is large enough or somebody waits for it, otherwise when the time is over. */
  function gather(): void {
    if (closing || hurried.length > 0 || waiting.length >= BATCH_EVENTS) next();
    else if (waiting.length > 0) gathering ??= setTimeout(next, GATHER_MS);
  }

  /** Sends the next batch, unless one is on its way or it is too early after a failure. */
  function next(): void {
    clearTimeout(gathering);
    gathering = undefined;
    if (closing && sent.length + waiting.length === 0) isIdle();
    if (sent.length > 0 || waiting.length === 0 || performance.now() < retryAtMs) return;
    sent = waiting.splice(0, BATCH_EVENTS);
    for (const { bytes } of sent) waitingBytes -= bytes;
    heardMs = performance.now();
    tellWriter({ kind: 'write', batch: batchOf(sent.map(({ attempt }) => attempt)) });
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
    if (sent.length + waiting.length === 0 || problem !== undefined) return;
    const written = new Promise<void>((go) => hurried.push({ upTo: taken, go }));
    next();
    await Promise.race([written, pause(WRITE_FIRST_MS)]);
  }

  return {
    append(attempts) {
      for (const attempt of attempts) {
        const bytes = weigh(attempt);
        if (closing || waiting.length >= MAX_WAITING || waitingBytes + bytes > MAX_WAITING_BYTES) {
          drop(1, closing ? 'the keeper is ending' : 'too many wait');
          continue;
        }
        waiting.push({ attempt, bytes });
        waitingBytes += bytes;
        taken++;
      }
      gather();
    },
    async search(search) {
      if (!checked) throw new Error(`the journal cannot be read: ${problem ?? 'not opened yet'}`);
      if (reader.open + hurried.length >= MAX_SEARCHES) throw new Error('too many searches at once; try again');
      await writeFirst();
      return reader.search(search);
    },
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
        waiting: waiting.length + sent.length,
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
      drop(waiting.length + sent.length, 'the keeper ended before they were written');
      tellWriter({ kind: 'close' });
      await Promise.race([closed, pause(1_000)]);
      await Promise.race([Promise.all([writer.terminate(), reader.close()]), pause(1_000)]);
    },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
