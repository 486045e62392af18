/** A mail server's log as something to wait on. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { SEND_TIMEOUT_MS } from './machine.ts';
import type { Mail } from './mail.ts';

/** Lines of a server that logs to its standard output, for waiting on. */
export class Log {
  readonly #lines: string[] = [];
  #wake = (): void => {};
  #ended = false;

  constructor(child: ChildProcess) {
    const add = (line: string): void => {
      this.#lines.push(line);
      this.#wake();
    };
    for (const stream of [child.stdout, child.stderr]) if (stream) createInterface(stream).on('line', add);
    child.once('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  get size(): number {
    return this.#lines.length;
  }

  get text(): string {
    return this.#lines.slice(-60).join('\n');
  }

  /** The lines from this place on, once so many match; rejects with them at the deadline, or when the server ended. */
  async matching(what: RegExp, count: number, from: number): Promise<string[]> {
    const fits = (lines: readonly string[]): boolean => lines.filter((line) => what.test(line)).length >= count;
    return (await this.until(fits, from)).filter((line) => what.test(line));
  }

  /** The lines from this place on, once they are enough; rejects likewise. */
  async until(isEnough: (lines: readonly string[]) => boolean, from: number): Promise<string[]> {
    const deadline = AbortSignal.timeout(SEND_TIMEOUT_MS);
    deadline.addEventListener('abort', () => this.#wake());
    for (;;) {
      const lines = this.#lines.slice(from);
      if (isEnough(lines)) return lines;
      if (deadline.aborted || this.#ended)
        throw new Error(`not all deliveries were tried:\n${lines.slice(-60).join('\n')}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** One line for each recipient, as `tried` finds them; each must be `done`. */
export async function untilDelivered(
  log: Log,
  from: number,
  mails: readonly Mail[],
  tried: RegExp,
  done: RegExp,
): Promise<void> {
  const recipients = mails.reduce((sum, mail) => sum + mail.to.length, 0);
  const lines = await log.matching(tried, recipients, from);
  const failed = lines.filter((line) => !done.test(line));
  if (failed.length > 0) throw new Error(`not delivered:\n${failed.slice(0, 20).join('\n')}`);
}
