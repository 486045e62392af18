/**
 * Steps on the ladder: whose mode is another than the configuration's for a while, kept in state_dir/steps.json.
 *
 * A step is somebody's order, or a rule's; it stands in the place of the `mode` of a network or a subscriber. Where it
 * ends, the configuration's mode holds again.
 */
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import { object, oneOf, type Shape, text, whole } from '../kit/shape.ts';
import { History } from './history.ts';
import type { Step, StepEvent } from './language.ts';
import { isStep } from './language-check.ts';
import { holds, Register } from './register.ts';

/** A step that was refused: the message is for who asked. */
export class StepError extends Error {
  override readonly name = 'StepError';
}

export type StepChange = {
  readonly step: Step;
  /** why it will not survive a restart, when it could not be written */
  readonly notKept: string | undefined;
};

const TROUBLES = {
  unread: { event: 'steps.not-read', effect: 'its steps are not in force' },
  unwritten: { event: 'steps.not-written', effect: 'changes since then will not survive a restart' },
  damaged: { event: 'steps.damaged', effect: 'everybody has the mode of the configuration; move again whom you must' },
} as const;

export class Steps {
  readonly #register: Register<Step>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #onEvent: (event: StepEvent) => void;

  constructor(path: string, clock: Clock, log: Log, onEvent: (event: StepEvent) => void) {
    this.#clock = clock;
    this.#log = log;
    this.#onEvent = onEvent;
    const keyOf = ({ subject }: Step): string => subject;
    this.#register = new Register<Step>({
      path,
      clock,
      log,
      name: 'steps',
      keyOf,
      isEntry: isStep,
      troubles: TROUBLES,
    });
  }

  /** Those that hold now, oldest first. */
  list(): readonly Step[] {
    return this.#register.list();
  }

  /** The one of exactly this subject, if it holds. */
  of(subject: string): Step | undefined {
    return this.#register.of(subject);
  }

  /** In the place of an earlier one of the same subject. Throws StepError. */
  take(wanted: Omit<Step, 'since'>): StepChange {
    const nowMs = this.#clock.nowMs();
    const step: Step = { ...wanted, since: nowMs };
    if (!holds(step, nowMs)) throw new StepError('the time until which it is to hold has passed');
    const before = this.#register.put(step);
    if (before === false) throw new StepError(`${this.#register.size} steps are as many as there can be`);
    this.#log.write('warn', 'step.taken', { ...step, before: before?.mode });
    this.#onEvent({ at: nowMs, what: 'taken', who: step.who, step });
    return { step, notKept: this.#register.save() };
  }

  /** Back to what the configuration says. Throws StepError when there is no step of this subject. */
  back(subject: string, who: string): StepChange {
    const step = this.#register.remove(subject);
    if (!step) throw new StepError(`${subject} has the mode of the configuration; "postern mode" lists what has not`);
    this.#log.write('warn', 'step.back', { subject, mode: step.mode, who, reason: step.reason, by: step.who });
    this.#onEvent({ at: this.#clock.nowMs(), what: 'taken-back', who, step });
    return { step, notKept: this.#register.save() };
  }

  /** Forgets those that have run out and writes again what could not be written. True when the list has changed. */
  tidy(): boolean {
    return this.#register.tidy((step) => {
      const { subject, mode, reason, who } = step;
      this.#log.write('info', 'step.ended', { subject, mode, reason, by: who });
      this.#onEvent({ at: this.#clock.nowMs(), what: 'ended', who: 'the clock', step });
    });
  }
}

const isEvent: Shape<StepEvent> = object<StepEvent>({
  at: whole(),
  what: oneOf('taken', 'taken-back', 'ended'),
  who: text(100),
  step: isStep,
});

/** What became of steps: state_dir/step-history.jsonl. */
export class StepHistory extends History<StepEvent> {
  constructor(path: string, log: Log) {
    super({ path, log, isEvent, failure: { event: 'steps.history-not-kept', effect: 'steps hold' } });
  }
}
