/** The locks of the gateway, kept in state_dir/locks.json. */
import { overlaps, parseAddress, parsePrefix, type Prefix, sourceOf } from '../kit/address.ts';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { Lock } from './language.ts';
import { isLock } from './language-check.ts';
import { logged } from './logged.ts';
import { holds, Register } from './register.ts';

const SHORTEST = { 4: 8, 6: 32 } as const;
const LOOPBACK = ['127.0.0.0/8', '::1/128'].map((text) => parsePrefix(text) as Prefix);

/** A subscriber or a tenant. */
const NAMED = /^(?:@|tenant:)[A-Za-z0-9._-]+$/;

/** What the configuration says of locks, and who hears of them. */
export type LockLimits = {
  /** never locked */
  readonly management: () => readonly Prefix[];
  /** the prefixes of a subscriber or tenant; none when there is none of that name */
  readonly prefixesOf: (name: string) => readonly Prefix[];
  readonly onEvent: (what: 'locked' | 'unlocked' | 'expired', lock: Lock, who: string) => void;
};
const NO_LIMITS: LockLimits = { management: () => [], prefixesOf: () => [], onEvent() {} };

/** A lock that was refused: the message is for who asked. */
export class LockError extends Error {
  override readonly name = 'LockError';
}

export type Change = {
  readonly lock: Lock;
  /** why it will not survive a restart, when it could not be written */
  readonly notKept: string | undefined;
};

const TROUBLES = {
  unread: { event: 'locks.not-read', effect: 'its locks are not in force' },
  unwritten: { event: 'locks.not-written', effect: 'changes since then will not survive a restart' },
  damaged: { event: 'locks.damaged', effect: 'no lock is in force; lock again what must be locked' },
} as const;

export class Locks {
  readonly #register: Register<Lock>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #limits: LockLimits;

  constructor(path: string, clock: Clock, log: Log, limits: LockLimits = NO_LIMITS) {
    this.#limits = limits;
    this.#clock = clock;
    this.#log = log;
    this.#register = new Register({ path, clock, log, name: 'locks', keyOf, isEntry, troubles: TROUBLES });
  }

  /** Those that hold now, oldest first. */
  list(): readonly Lock[] {
    return this.#register.list();
  }

  /** Locks a prefix, or changes its lock. Throws LockError with what is wrong and what to do. */
  lock(wanted: Omit<Lock, 'since'>): Change {
    const subject = this.#lockable(wanted);
    const nowMs = this.#clock.nowMs();
    const lock: Lock = { ...wanted, subject, since: nowMs };
    if (!holds(lock, nowMs)) throw new LockError(`the time until which ${nameOf(lock)} is to be locked has passed`);
    const before = this.#register.put(lock);
    if (before === false)
      throw new LockError(
        `${this.#register.size} locks are as many as there can be; lock a prefix that covers several`,
      );
    const { how, reason, who, until, evidence } = lock;
    const changed = before !== undefined;
    this.#log.write('warn', 'lock.set', { ...logged(lock), how, reason, who, until, evidence, changed });
    this.#limits.onEvent('locked', lock, lock.who);
    return { lock, notKept: this.#register.save() };
  }

  /** Takes a lock away. Throws LockError when there is none of exactly this subject. */
  unlock(subject: string, who: string, identity?: string): Change {
    const prefix = parsePrefix(subject);
    if (!prefix && !NAMED.test(subject)) throw new LockError(`"${subject}" is no address, no prefix and no name`);
    const wanted = { subject: prefix?.text ?? subject, identity };
    const lock = this.#register.remove(keyOf(wanted));
    if (!lock) throw new LockError(`${nameOf(wanted)} is not locked; "postern locks" lists what is`);
    this.#log.write('warn', 'lock.removed', { ...logged(lock), who, reason: lock.reason, by: lock.who });
    this.#limits.onEvent('unlocked', lock, who);
    return { lock, notKept: this.#register.save() };
  }

  /** Forgets those that have run out and writes again what could not be written. True when the list has changed. */
  tidy(): boolean {
    return this.#register.tidy((lock) => {
      this.#limits.onEvent('expired', lock, 'the clock');
      this.#log.write('info', 'lock.expired', { ...logged(lock), reason: lock.reason, by: lock.who });
    });
  }

  /** The lock of exactly this, if it holds. */
  of(wanted: Pick<Lock, 'subject' | 'identity'>): Lock | undefined {
    return this.#register.of(keyOf(wanted));
  }

  /** The subject as it is kept. Throws LockError when it may not be locked. */
  #lockable({ subject, identity, how }: Omit<Lock, 'since'>): string {
    if (identity !== undefined && how === 'kernel')
      throw new LockError('the kernel knows no identities: lock one with --how reject or defer');
    const isNamed = NAMED.test(subject);
    const prefixes = isNamed ? this.#limits.prefixesOf(subject) : [lockable(subject)];
    if (prefixes.length === 0) throw new LockError(`there is no ${subject} in the configuration`);
    // An identity is not the way to the machine that it comes from.
    const own = identity === undefined ? this.#limits.management() : [];
    const managed = own.find((one) => prefixes.some((prefix) => overlaps(one, prefix)));
    if (managed) throw new LockError(`${subject} is never locked: ${managed.text} is in locks.management`);
    return isNamed ? subject : (prefixes[0] as Prefix).text;
  }
}

/** The subject of a lock as somebody wrote it: an IPv6 address stands for its /64. Throws LockError. */
export function lockSubject(given: string): string {
  if (NAMED.test(given)) return given;
  return lockable(parseAddress(given) ? sourceOf(given) : given).text;
}

/** The prefix, if it may be locked at all: a slip of the finger must not lock half of the internet, or the gateway. */
export function lockable(subject: string): Prefix {
  const prefix = parsePrefix(subject);
  if (!prefix)
    throw new LockError(
      `"${subject}" is no address and no prefix such as 198.51.100.7 or 198.51.100.0/24 (without host bits)`,
    );
  const shortest = SHORTEST[prefix.family];
  if (prefix.length < shortest)
    throw new LockError(
      `${prefix.text} is too wide: a lock covers at most a /${shortest}. Set the network's mode to "block" instead`,
    );
  if (
    LOOPBACK.some((own) => own.family === prefix.family && prefix.base >> hostBits(own) === own.base >> hostBits(own))
  )
    throw new LockError(`${prefix.text} is the gateway itself and is never locked`);
  return prefix;
}

function hostBits(prefix: Prefix): bigint {
  return BigInt((prefix.family === 4 ? 32 : 128) - prefix.length);
}

function isEntry(raw: unknown): raw is Lock {
  return isLock(raw) && (parsePrefix(raw.subject) !== undefined || NAMED.test(raw.subject));
}

/** No subject has a blank in it. */
function keyOf({ subject, identity }: Pick<Lock, 'subject' | 'identity'>): string {
  return identity === undefined ? subject : `${subject} ${identity}`;
}

function nameOf({ subject, identity }: Pick<Lock, 'subject' | 'identity'>): string {
  return identity === undefined ? subject : `identity "${identity}" of ${subject}`;
}
