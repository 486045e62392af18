/** The test's end of an agent (agent-main.ts): orders to a process in a namespace, and their answers. */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Namespace } from '../../src/lab/namespace.ts';
import { shownToAll } from './checkout.ts';

export type Order =
  | {
      readonly do: 'listen';
      readonly address: string;
      readonly port: number;
      readonly transparent: boolean;
      readonly greeting: string;
    }
  | { readonly do: 'probe'; readonly path: string }
  /** does this probe's listener answer from now on? */
  | { readonly do: 'answer'; readonly path: string; readonly answer: boolean }
  | {
      readonly do: 'connect';
      readonly to: string;
      readonly port: number;
      readonly from?: string;
      readonly fromPort?: number;
      /** keep the connection under this number */
      readonly hold?: number;
      readonly timeoutMs: number;
    }
  | { readonly do: 'say'; readonly hold: number; readonly line: string; readonly timeoutMs: number }
  | { readonly do: 'reset'; readonly hold: number }
  | { readonly do: 'accepted' };

/** What came first: something to read, or an end. */
export type Outcome = { readonly greeting?: string; readonly error?: string };
export type Accepted = { readonly from: string; readonly to: string; readonly port: number };

export type ConnectOptions = Pick<Extract<Order, { do: 'connect' }>, 'from' | 'fromPort' | 'hold'> & {
  readonly timeoutMs?: number;
};

const ANSWER_MS = 60_000;

export class Agent {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (answer: unknown) => void; reject: (error: Error) => void }>();
  #last = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (raw) => {
      const { id, answer, error } = raw as { id: number; answer?: unknown; error?: string };
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(answer);
      else waiting?.reject(new Error(error));
    });
    child.once('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the agent has ended: ${signal ?? code}`));
    });
  }

  /** `asUser` is a numeric user id; without it the agent is root. It ends when the namespace is destroyed. */
  static async start(namespace: Namespace, asUser?: number): Promise<Agent> {
    const main = fileURLToPath(new URL('agent-main.ts', import.meta.url));
    const program = [process.execPath, main];
    const args =
      asUser === undefined ? program : shownToAll(['setpriv', '--reuid', String(asUser), '--clear-groups', ...program]);
    const child = namespace.spawn('env', args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const agent = new Agent(child);
    await agent.#answer(0);
    return agent;
  }

  /** Where `greeting` is said to whoever connects. A transparent one takes what TPROXY hands over. */
  async listen(address: string, port: number, greeting: string, transparent = false): Promise<void> {
    await this.#order({ do: 'listen', address, port, greeting, transparent });
  }

  async probe(path: string): Promise<void> {
    await this.#order({ do: 'probe', path });
  }

  async answerProbe(path: string, answer: boolean): Promise<void> {
    await this.#order({ do: 'answer', path, answer });
  }

  /** The first word of the greeting after 220, or the code of the error: `internet`, `ECONNREFUSED`, `timeout`. */
  async connect(to: string, port: number, options: ConnectOptions = {}): Promise<string> {
    const { timeoutMs = 30_000, ...rest } = options;
    return said(await this.#order<Outcome>({ do: 'connect', to, port, timeoutMs, ...rest }));
  }

  /** Does a held connection still carry? `again`, or the code of the error. */
  async say(hold: number, timeoutMs = 30_000): Promise<string> {
    return this.#say(hold, 'again', timeoutMs);
  }

  /** Has the other end close a held connection first; `closed`, or the code of the error. */
  async bye(hold: number, timeoutMs = 30_000): Promise<string> {
    return this.#say(hold, 'bye', timeoutMs);
  }

  /** Both ends of a held connection are gone at once; each sends a reset, which the test may hold back. */
  async forget(hold: number): Promise<void> {
    await this.#say(hold, 'forget', 200);
    await this.#order({ do: 'reset', hold });
  }

  async #say(hold: number, line: string, timeoutMs: number): Promise<string> {
    const { greeting, error } = await this.#order<Outcome>({ do: 'say', hold, line, timeoutMs });
    return greeting ?? error ?? '';
  }

  /** Who has connected since this was last asked. */
  accepted(): Promise<readonly Accepted[]> {
    return this.#order({ do: 'accepted' });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #order<T = unknown>(order: Order): Promise<T> {
    const id = ++this.#last;
    const answer = this.#answer<T>(id);
    this.#child.send({ id, order });
    return answer;
  }

  #answer<T>(id: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('the agent does not answer')), ANSWER_MS);
      this.#waiting.set(id, {
        resolve: (answer) => {
          clearTimeout(timer);
          resolve(answer as T);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
    });
  }
}

function said({ greeting, error }: Outcome): string {
  return greeting === undefined ? (error ?? '') : (greeting.split(' ')[1] ?? '');
}
