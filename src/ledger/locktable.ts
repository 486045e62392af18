/** Which lock holds for an address: the longest prefix that has it and has not run out. */
import { parsePrefix } from '../kit/address.ts';
import { PrefixMap } from '../kit/prefix-map.ts';
import type { Lock } from './language.ts';

export type LockTable = {
  readonly size: number;
  /** the lock that holds for this address at this wall time */
  readonly find: (address: string, nowMs: number) => Lock | undefined;
};

/** True while the lock holds. `until` is wall time: a clock set back never opens early, one set forward ends it. */
export function holds(lock: Lock, nowMs: number): boolean {
  return lock.until === undefined || nowMs < lock.until;
}

/** Subjects that are no prefix hold for nobody; the keeper makes none. */
export function lockTable(locks: readonly Lock[]): LockTable {
  const map = new PrefixMap(
    locks.flatMap((lock) => {
      const prefix = parsePrefix(lock.subject);
      return prefix ? [[prefix, lock] as const] : [];
    }),
  );
  return {
    size: locks.length,
    find: (text, nowMs) => map.find(text, (lock) => holds(lock, nowMs)),
  };
}
