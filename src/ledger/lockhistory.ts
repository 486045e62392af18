/** What became of locks: state_dir/lock-history.jsonl. */
import type { Log } from '../kit/log.ts';
import { maybe, object, oneOf, type Shape, text, whole } from '../kit/shape.ts';
import { History } from './history.ts';
import type { Lock, LockEvent } from './language.ts';
import { isLock } from './language-check.ts';

const isEvent: Shape<LockEvent> = object<LockEvent>({
  at: whole(),
  what: oneOf('locked', 'unlocked', 'expired'),
  who: text(100),
  rule: maybe(text(64)),
  lock: isLock,
});

export class LockHistory extends History<LockEvent> {
  constructor(path: string, log: Log) {
    const effect = 'locks hold; how often a rule has locked is not known after a restart';
    super({ path, log, isEvent, failure: { event: 'locks.history-not-kept', effect } });
  }

  /** How often a rule has locked exactly this since then. */
  countOf({ subject, identity }: Pick<Lock, 'subject' | 'identity'>, sinceMs: number): number {
    return this.events.filter(
      ({ at, what, rule, lock }) =>
        at >= sinceMs &&
        what === 'locked' &&
        rule !== undefined &&
        lock.subject === subject &&
        lock.identity === identity,
    ).length;
  }
}
