/**
 * The journal as the keeper sees it: attempts go in and never hold anybody up, questions come out.
 *
 * SQLite lives in two threads, one that writes and one that reads. One batch is on its way at a time, what comes
 * meanwhile makes the next; a batch that cannot be written (disk full, read-only, EIO) waits and is tried again each
 * second. 10,000 attempts or 32 MiB may wait; what comes then is dropped and counted.
 */
import { Worker } from 'node:worker_threads';
import type { Fields, Level, Log } from '../kit/log.ts';
import { type Attempt, weigh } from './events.ts';
import type { Retention } from './journalfile.ts';
import type { JournalState, LogAnswer } from './query.ts';
import { type Batch, batchOf } from './rows.ts';
import type { Search } from './search.ts';

export type { Retention } from './journalfile.ts';

export type WriterData = { readonly path: string; readonly retention: Retention };
export type ReaderData = { readonly path: string };
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
export type ToReader =
  | { readonly kind: 'check' }
  | { readonly kind: 'search'; readonly number: number; readonly search: Search };
export type FromReader =
  | { readonly kind: 'found'; readonly number: number; readonly answer: LogAnswer }
  | { readonly kind: 'not-found'; readonly number: number; readonly problem: string }
  | { readonly kind: 'damaged'; readonly reason: string };

const BATCH_EVENTS = 500;
const MAX_WAITING = 10_000;
const MAX_WAITING_BYTES = 32 * 1024 * 1024;
const RETRY_MS = 1_000;
/** a write, or a sign of life, that takes longer is a trouble that shows */
const SILENT_MS = 5_000;
const SEARCH_TIMEOUT_MS = 25_000;
const MAX_SEARCHES = 16;
const CLOSE_TIMEOUT_MS = 5_000;

export interface Journal {
  append(attempts: readonly Attempt[]): void;
  /** Rejects with a sentence for people when the journal cannot be read, is too slow or has too many to answer. */
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
  let reader = startReader();

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
        next();
        break;
      case 'failed':
        putBack();
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
        next();
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
    if (!checked) ask({ kind: 'check' });
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

  /** Sends the next batch, unless one is on its way or it is too early after a failure. */
  function next(): void {
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

  const searches = new Map<number, { resolve: (answer: LogAnswer) => void; reject: (error: Error) => void }>();
  let lastSearch = 0;

  function startReader(): Worker {
    const workerData: ReaderData = { path };
    const thread = new Worker(new URL('./reader.thread.ts', import.meta.url), { workerData, name: 'journal reader' });
    thread.on('message', (message: FromReader) => {
      if (message.kind === 'damaged') return tellWriter({ kind: 'replace', reason: message.reason });
      const search = searches.get(message.number);
      searches.delete(message.number);
      if (message.kind === 'found') search?.resolve(message.answer);
      else search?.reject(new Error(`the journal cannot be read: ${message.problem}`));
    });
    thread.on('error', (error) => log.write('error', 'journal.thread-died', { error: String(error) }));
    thread.on('exit', () => {
      for (const search of searches.values())
        search.reject(new Error('the journal cannot be read just now; try again'));
      searches.clear();
      if (!closing) {
        setTimeout(() => {
          if (!closing) reader = startReader();
        }, RETRY_MS);
      }
    });
    return thread;
  }
  function ask(message: ToReader): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    reader.postMessage(message);
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
      }
      next();
    },
    search(search) {
      if (!checked) return Promise.reject(new Error(`the journal cannot be read: ${problem ?? 'not opened yet'}`));
      if (searches.size >= MAX_SEARCHES) return Promise.reject(new Error('too many searches at once; try again'));
      return new Promise((resolve, reject) => {
        const number = ++lastSearch;
        const timer = setTimeout(() => {
          searches.delete(number);
          reject(new Error('the search takes too long; narrow it down, for example with --since'));
          // It ends as soon as SQLite lets go, and a new one takes its place.
          void reader.terminate();
        }, SEARCH_TIMEOUT_MS);
        const settle =
          <T>(then: (value: T) => void) =>
          (value: T): void => {
            clearTimeout(timer);
            then(value);
          };
        searches.set(number, { resolve: settle(resolve), reject: settle(reject) });
        ask({ kind: 'search', number, search });
      });
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
      await Promise.race([Promise.all([writer.terminate(), reader.terminate()]), pause(1_000)]);
    },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
