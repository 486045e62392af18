/**
 * A pool of threads for work that may take long or never end: off the loop, one job to a thread, and a job whose time is
 * over ends with its thread.
 *
 * Threads are started when they are first needed and stay. What is asked while all are busy waits in order, within its
 * own deadline, which is the caller's signal.
 */
import { type Transferable, Worker } from 'node:worker_threads';
import type { Done, Job } from './thread.ts';

export type ThreadsOptions = {
  /** a file that calls `serveTasks` */
  readonly entry: URL;
  readonly name: string;
  /** how many at once, to begin with */
  readonly most: number;
  /** of one thread's heap; one that needs more dies, and its job fails */
  readonly heapMiB: number;
};

/** What a task is given; buffers in `transfer` are gone here afterwards. */
export type Input = { readonly value: unknown; readonly transfer?: readonly Transferable[] };

type Asked = {
  readonly task: string;
  readonly prepare: () => Input | Promise<Input>;
  readonly settle: { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void };
  /** it has been given up */
  isOver: boolean;
  thread: Worker | undefined;
};

export class Threads {
  /** a reload may change it; what runs goes on */
  most: number;
  readonly #options: ThreadsOptions;
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Asked>();
  readonly #waiting = new Set<Asked>();
  /** Jobs that have taken a place and have no thread yet. */
  #preparing = 0;
  #isClosed = false;

  constructor(options: ThreadsOptions) {
    this.#options = options;
    this.most = options.most;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  get busy(): number {
    return this.#busy.size + this.#preparing;
  }

  /**
   * What the task returns. `prepare` is called when its turn comes, so that what waits holds no copy. Rejects when the
   * task throws, its thread dies, or the signal aborts; then the thread is ended, whatever it is at.
   */
  run(task: string, prepare: () => Input | Promise<Input>, signal: AbortSignal): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const asked: Asked = { task, prepare, settle: { resolve, reject }, isOver: false, thread: undefined };
    const giveUp = (): void => {
      asked.isOver = true;
      this.#waiting.delete(asked);
      reject(new Error('its time is over'));
      if (asked.thread) void asked.thread.terminate();
    };
    if (signal.aborted) giveUp();
    else {
      signal.addEventListener('abort', giveUp, { once: true });
      this.#waiting.add(asked);
      this.#next();
    }
    return promise.finally(() => signal.removeEventListener('abort', giveUp));
  }

  /** Ends all threads; what runs or waits is rejected. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { settle } of this.#waiting) settle.reject(new Error('the pool has been closed'));
    this.#waiting.clear();
    await Promise.all([...this.#idle, ...this.#busy.keys()].map((thread) => thread.terminate()));
  }

  #next(): void {
    while (this.busy < this.most && !this.#isClosed) {
      const [asked] = this.#waiting;
      if (!asked) return;
      this.#waiting.delete(asked);
      this.#preparing++;
      void this.#begin(asked);
    }
  }

  async #begin(asked: Asked): Promise<void> {
    let input: Input | undefined;
    try {
      input = await asked.prepare();
    } catch (error) {
      asked.settle.reject(error instanceof Error ? error : new Error(String(error)));
    }
    this.#preparing--;
    if (!input || asked.isOver || this.#isClosed) return this.#next();
    const thread = this.#idle.pop() ?? this.#start();
    asked.thread = thread;
    this.#busy.set(thread, asked);
    thread.ref();
    const job: Job = { task: asked.task, input: input.value };
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    thread.postMessage(job, [...(input.transfer ?? [])]);
  }

  #start(): Worker {
    const { entry, name, heapMiB } = this.#options;
    const thread = new Worker(entry, { name, resourceLimits: { maxOldGenerationSizeMb: heapMiB } });
    let why = 'its thread has ended';
    thread.on('message', (done: Done) => {
      const asked = this.#busy.get(thread);
      // It has been ended, and what it said before comes too late: 'exit' is next.
      if (asked?.isOver) return;
      this.#busy.delete(thread);
      if (asked) asked.thread = undefined;
      this.#idle.push(thread);
      // A thread that has nothing to do keeps no process alive.
      thread.unref();
      if (done.ok) asked?.settle.resolve(done.value);
      else asked?.settle.reject(new Error(done.error));
      this.#next();
    });
    thread.on('error', (error: unknown) => (why = error instanceof Error ? error.message : String(error)));
    thread.on('exit', () => {
      const at = this.#idle.indexOf(thread);
      if (at >= 0) this.#idle.splice(at, 1);
      this.#busy.get(thread)?.settle.reject(new Error(why));
      this.#busy.delete(thread);
      this.#next();
    });
    return thread;
  }
}
