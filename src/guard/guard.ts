/**
 * Keeps the kernel as planned: reads it every two seconds, repairs what was flushed or changed, puts locks into their
 * sets, and knows what the counters say. One round at a time, so that no two of them work on the same rules.
 */
import { mustRun } from '../kit/command.ts';
import type { Log } from '../kit/log.ts';
import type { KernelReport, Lock } from '../ledger/language.ts';
import { apply } from './apply.ts';
import { type Counted, Counters } from './counters.ts';
import type { DesiredState } from './desired.ts';
import { lockChanges } from './locks.ts';
import { SETS } from './names.ts';
import { readKernel } from './read.ts';
import { Spelling } from './spelling.ts';
import { ELEMENT_TIMEOUT_S } from './switch.ts';

const ROUND_EVERY_MS = 2_000;
/** After a repair it is looked at again soon: what was changed once may be changing still. */
const ROUND_AFTER_REPAIR_MS = 500;

export class Guard {
  #desired: DesiredState;
  readonly #log: Log;
  readonly #spelling = new Spelling();
  readonly #counters = new Counters();
  /** undefined until the keeper has told them: then what the kernel still holds of an earlier guard's stays */
  #locks: readonly Lock[] | undefined;
  #counted: Counted = { refused: [], exemptTo: [], topRefused: [] };
  #repaired = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;
  #lastError: string | undefined;

  constructor(desired: DesiredState, log: Log) {
    this.#desired = desired;
    this.#log = log;
  }

  /** Rejects when the rules cannot be put into the kernel now. Afterwards failures are logged and tried again. */
  async start(): Promise<void> {
    await this.#adopt(this.#desired);
    this.#schedule(0);
  }

  /** A new plan, in force when this resolves; when it rejects the old one holds. */
  async replace(desired: DesiredState): Promise<void> {
    const before = this.#desired;
    try {
      await this.#adopt(desired);
    } catch (error) {
      this.#desired = before;
      throw error;
    }
  }

  lock(locks: readonly Lock[]): void {
    this.#locks = locks;
    this.#schedule(0);
  }

  report(): Counted & Pick<KernelReport, 'repaired'> {
    return { ...this.#counted, repaired: this.#repaired };
  }

  /** The rules stand on. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running.catch(() => {});
  }

  #adopt(desired: DesiredState): Promise<void> {
    return this.#inTurn(async () => {
      this.#desired = desired;
      const steps = await apply(desired, await readKernel(), this.#spelling);
      this.#log.write('info', 'rules.applied', { changes: steps.flatMap(({ because }) => because).length });
    });
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#inTurn(() => this.#round()).catch(() => {}), delayMs);
  }

  #inTurn(what: () => Promise<void>): Promise<void> {
    const turn = this.#running.catch(() => {}).then(what);
    this.#running = turn;
    return turn;
  }

  async #round(): Promise<void> {
    let nextMs = ROUND_EVERY_MS;
    try {
      const kernel = await readKernel();
      this.#counted = this.#counters.read(kernel);
      const steps = await apply(this.#desired, kernel, this.#spelling);
      if (steps.length > 0) {
        this.#repaired++;
        nextMs = ROUND_AFTER_REPAIR_MS;
        this.#log.write('warn', 'rules.repaired', { what: steps.flatMap(({ because }) => because).slice(0, 50) });
      }
      const locks = this.#locks && lockChanges(this.#locks, kernel, Date.now());
      if (locks) await mustRun('ipset', ['restore'], { input: locks });
      this.#lastError = undefined;
    } catch (error) {
      // What was done stands; what was not is found missing by the next round.
      const { message } = error as Error;
      if (message !== this.#lastError) this.#log.write('error', 'rules.failed', { error: message });
      this.#lastError = message;
    }
    this.#schedule(nextMs);
  }
}

/** Renews the element of the dead-man's switch. */
export async function refreshAlive(): Promise<void> {
  const args = ['add', SETS.alive, '25', 'timeout', String(ELEMENT_TIMEOUT_S), '-exist'];
  await mustRun('ipset', args, { deadlineMs: 1_000 });
}
