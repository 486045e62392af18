/** Questions to the journal as the keeper asks them: answered by a thread that is replaced when it dies or takes too long. */
import { Worker } from 'node:worker_threads';
import type { Log } from '../kit/log.ts';
import type {
  HistoryQuestion,
  HistoryRow,
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
import type { Search } from './search.ts';

export type ReaderData = { readonly path: string };
export type ToReader =
  | { readonly kind: 'check' }
  | { readonly kind: 'search'; readonly number: number; readonly search: Search }
  | { readonly kind: 'top'; readonly number: number; readonly question: TopQuestion }
  | { readonly kind: 'sources'; readonly number: number; readonly question: SourcesQuestion }
  | { readonly kind: 'receivers'; readonly number: number; readonly question: ReceiversQuestion }
  | { readonly kind: 'sums'; readonly number: number; readonly question: SumsQuestion }
  | { readonly kind: 'history'; readonly number: number; readonly question: HistoryQuestion };
export type FromReader =
  | { readonly kind: 'found'; readonly number: number; readonly answer: unknown }
  | { readonly kind: 'not-found'; readonly number: number; readonly problem: string }
  | { readonly kind: 'damaged'; readonly reason: string };

const RESTART_MS = 1_000;
const SEARCH_TIMEOUT_MS = 25_000;

export type ReaderOptions = {
  readonly path: string;
  readonly log: Log;
  /** the file cannot be as it was written */
  readonly onDamage: (reason: string) => void;
};

export class Reader {
  readonly #options: ReaderOptions;
  readonly #searches = new Map<number, { resolve: (answer: unknown) => void; reject: (error: Error) => void }>();
  #thread: Worker;
  #last = 0;
  #closing = false;

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#thread = this.#start();
  }

  /** Looks through all of the file for damage. */
  check(): void {
    this.#ask({ kind: 'check' });
  }

  /** Rejects with a sentence for people. */
  search(search: Search): Promise<LogAnswer> {
    return this.#question((number) => ({ kind: 'search', number, search })) as Promise<LogAnswer>;
  }

  /** Rejects with a sentence for people. */
  top(question: TopQuestion): Promise<readonly TopRow[]> {
    return this.#question((number) => ({ kind: 'top', number, question })) as Promise<readonly TopRow[]>;
  }

  /** Rejects with a sentence for people. */
  receivers(question: ReceiversQuestion): Promise<readonly ReceiverRow[]> {
    return this.#question((number) => ({ kind: 'receivers', number, question })) as Promise<readonly ReceiverRow[]>;
  }

  /** Rejects with a sentence for people. */
  history(question: HistoryQuestion): Promise<readonly HistoryRow[]> {
    return this.#question((number) => ({ kind: 'history', number, question })) as Promise<readonly HistoryRow[]>;
  }

  /** Rejects with a sentence for people. */
  sources(question: SourcesQuestion): Promise<readonly SourceRow[]> {
    return this.#question((number) => ({ kind: 'sources', number, question })) as Promise<readonly SourceRow[]>;
  }

  /** Rejects with a sentence for people. */
  sums(question: SumsQuestion): Promise<readonly SumRow[]> {
    return this.#question((number) => ({ kind: 'sums', number, question })) as Promise<readonly SumRow[]>;
  }

  #question(messageOf: (number: number) => ToReader): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const number = ++this.#last;
      const timer = setTimeout(() => {
        this.#searches.delete(number);
        reject(new Error('the search takes too long; narrow it down, for example with --since'));
        // It ends as soon as SQLite lets go, and a new one takes its place.
        void this.#thread.terminate();
      }, SEARCH_TIMEOUT_MS);
      const settle =
        <T>(then: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer);
          then(value);
        };
      this.#searches.set(number, { resolve: settle(resolve), reject: settle(reject) });
      this.#ask(messageOf(number));
    });
  }

  /** No new thread takes the place of this one, from the call on; resolves when it has ended. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.#thread.terminate();
  }

  #start(): Worker {
    const { path, log, onDamage } = this.#options;
    const workerData: ReaderData = { path };
    const thread = new Worker(new URL('./reader.thread.ts', import.meta.url), { workerData, name: 'journal reader' });
    thread.on('message', (message: FromReader) => {
      if (message.kind === 'damaged') return onDamage(message.reason);
      const search = this.#searches.get(message.number);
      this.#searches.delete(message.number);
      if (message.kind === 'found') search?.resolve(message.answer);
      else search?.reject(new Error(`the journal cannot be read: ${message.problem}`));
    });
    thread.on('error', (error) => log.write('error', 'journal.thread-died', { error: String(error) }));
    thread.on('exit', () => {
      for (const search of this.#searches.values())
        search.reject(new Error('the journal cannot be read just now; try again'));
      this.#searches.clear();
      if (this.#closing) return;
      setTimeout(() => {
        if (!this.#closing) this.#thread = this.#start();
      }, RESTART_MS);
    });
    return thread;
  }

  #ask(message: ToReader): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    this.#thread.postMessage(message);
  }
}
