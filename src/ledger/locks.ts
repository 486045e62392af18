/**
 * The locks of the gateway, kept in state_dir/locks.json.
 *
 * A change is on disk before it is told: written beside, synced, moved into place, so that a cut leaves the old list or
 * the new one. When it cannot be written the lock holds nevertheless until the keeper ends, and the answer says so: a
 * lock that a full disk prevents would be worse. A file that cannot be read is kept as it is under another name and
 * mail goes on without its locks: loudly, since refusing everybody for it would be an outage made from a typing error.
 *
 * `until` is wall time and the clock is asked at every look, so a clock that steps neither keeps a lock for ever nor
 * ends one before that time.
 */
import { readFileSync, renameSync } from 'node:fs';
import { overlaps, parsePrefix, type Prefix } from '../kit/address.ts';
import type { Clock } from '../kit/clock.ts';
import { writeAtomically } from '../kit/files.ts';
import type { Log } from '../kit/log.ts';
import { isLock, type Lock, MAX_LOCKS } from './language.ts';
import { holds } from './locktable.ts';

/** All locks go to every worker in one line of 4 MiB. */
const MAX_TEXT_BYTES = 3 * 1024 * 1024;
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

export class Locks {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #limits: LockLimits;
  readonly #byKey = new Map<string, Lock>();
  #unwritten = false;
  /** why the file could not be read; it is not written over before it has been */
  #unread: string | undefined;

  constructor(path: string, clock: Clock, log: Log, limits: LockLimits = NO_LIMITS) {
    this.#limits = limits;
    this.#path = path;
    this.#clock = clock;
    this.#log = log;
    this.#load();
  }

  /** Those that hold now, oldest first. */
  list(): readonly Lock[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#byKey.values()].filter((lock) => holds(lock, nowMs));
  }

  /** Locks a prefix, or changes its lock. Throws LockError with what is wrong and what to do. */
  lock(wanted: Omit<Lock, 'since'>): Change {
    const subject = this.#lockable(wanted);
    const nowMs = this.#clock.nowMs();
    const lock: Lock = { ...wanted, subject, since: nowMs };
    if (!holds(lock, nowMs)) throw new LockError(`the time until which ${nameOf(lock)} is to be locked has passed`);
    const key = keyOf(lock);
    const before = this.#byKey.get(key);
    this.#byKey.delete(key);
    this.#byKey.set(key, lock);
    if (this.#byKey.size > MAX_LOCKS || Buffer.byteLength(this.#text()) > MAX_TEXT_BYTES) {
      this.#byKey.delete(key);
      if (before) this.#byKey.set(key, before);
      throw new LockError(`${this.#byKey.size} locks are as many as there can be; lock a prefix that covers several`);
    }
    this.#log.write('warn', 'lock.set', { ...lock, changed: before !== undefined });
    this.#limits.onEvent('locked', lock, lock.who);
    return { lock, notKept: this.#save() };
  }

  /** Takes a lock away. Throws LockError when there is none of exactly this subject. */
  unlock(subject: string, who: string, identity?: string): Change {
    const prefix = parsePrefix(subject);
    if (!prefix && !NAMED.test(subject)) throw new LockError(`"${subject}" is no address, no prefix and no name`);
    const wanted = { subject: prefix?.text ?? subject, identity };
    const lock = this.#byKey.get(keyOf(wanted));
    if (!lock) throw new LockError(`${nameOf(wanted)} is not locked; "postern locks" lists what is`);
    this.#byKey.delete(keyOf(lock));
    this.#log.write('warn', 'lock.removed', {
      subject: lock.subject,
      identity,
      who,
      reason: lock.reason,
      by: lock.who,
    });
    this.#limits.onEvent('unlocked', lock, who);
    return { lock, notKept: this.#save() };
  }

  /** Forgets those that have run out and writes again what could not be written. True when the list has changed. */
  tidy(): boolean {
    const nowMs = this.#clock.nowMs();
    let changed = this.#unread !== undefined && this.#load();
    for (const [key, lock] of this.#byKey) {
      if (holds(lock, nowMs)) continue;
      this.#byKey.delete(key);
      this.#limits.onEvent('expired', lock, 'the clock');
      const { subject, identity } = lock;
      this.#log.write('info', 'lock.expired', { subject, identity, reason: lock.reason, by: lock.who });
      changed = true;
    }
    if (changed || this.#unwritten) this.#save();
    return changed;
  }

  /** The lock of exactly this, if it holds. */
  of(wanted: Pick<Lock, 'subject' | 'identity'>): Lock | undefined {
    const lock = this.#byKey.get(keyOf(wanted));
    return lock && holds(lock, this.#clock.nowMs()) ? lock : undefined;
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

  #text(): string {
    return JSON.stringify({ version: 1, locks: [...this.#byKey.values()] }, undefined, 1);
  }

  /** True when the file has been read, or there is none. What was locked meanwhile stays. */
  #load(): boolean {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      const problem = (error as NodeJS.ErrnoException).code ?? String(error);
      if (problem === 'ENOENT') {
        this.#unread = undefined;
        return true;
      }
      if (this.#unread !== problem)
        this.#log.write('error', 'locks.not-read', {
          path: this.#path,
          error: problem,
          effect: 'its locks are not in force',
        });
      this.#unread = problem;
      return false;
    }
    this.#unread = undefined;
    for (const lock of parse(text, this.#path, this.#clock, this.#log)) {
      if (!this.#byKey.has(keyOf(lock))) this.#byKey.set(keyOf(lock), lock);
    }
    return true;
  }

  #save(): string | undefined {
    if (this.#unread !== undefined) {
      this.#unwritten = true;
      return `${this.#path} cannot be read (${this.#unread})`;
    }
    try {
      writeAtomically(this.#path, `${this.#text()}\n`);
      this.#unwritten = false;
      return undefined;
    } catch (error) {
      if (!this.#unwritten) this.#log.write('error', 'locks.not-written', { path: this.#path, error: String(error) });
      this.#unwritten = true;
      return `${this.#path} cannot be written (${(error as NodeJS.ErrnoException).code ?? String(error)})`;
    }
  }
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

/** What the file says; when that is nothing sensible, the file is moved aside and there are no locks. */
function parse(text: string, path: string, clock: Clock, log: Log): readonly Lock[] {
  try {
    const { locks } = JSON.parse(text) as { locks: unknown };
    if (
      !Array.isArray(locks) ||
      !locks.every((one) => isLock(one) && (parsePrefix(one.subject) !== undefined || NAMED.test(one.subject)))
    )
      throw new Error('not a list of locks');
    return locks as readonly Lock[];
  } catch (error) {
    const kept = `${path}.damaged-${clock.nowMs()}`;
    let moved = true;
    try {
      renameSync(path, kept);
    } catch {
      moved = false;
    }
    log.write('error', 'locks.damaged', {
      path,
      error: String(error),
      kept: moved ? kept : 'could not be moved aside',
      effect: 'no lock is in force; lock again what must be locked',
    });
    return [];
  }
}

/** No subject has a blank in it. */
function keyOf({ subject, identity }: Pick<Lock, 'subject' | 'identity'>): string {
  return identity === undefined ? subject : `${subject} ${identity}`;
}

function nameOf({ subject, identity }: Pick<Lock, 'subject' | 'identity'>): string {
  return identity === undefined ? subject : `identity "${identity}" of ${subject}`;
}
