/**
 * Which lock holds for an address: the longest prefix that has it and has not run out.
 *
 * One hash map for each prefix length in use, asked from the longest to the shortest: a look-up costs the number of
 * lengths, not of locks.
 */
import { type Family, parseAddress, parsePrefix } from '../kit/address.ts';
import type { Lock } from './language.ts';

const WIDTH = { 4: 32n, 6: 128n } as const;

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
  const levels: Record<Family, { readonly shift: bigint; readonly map: Map<bigint, Lock> }[]> = { 4: [], 6: [] };
  for (const lock of locks) {
    const prefix = parsePrefix(lock.subject);
    if (!prefix) continue;
    const shift = WIDTH[prefix.family] - BigInt(prefix.length);
    let level = levels[prefix.family].find((one) => one.shift === shift);
    if (!level) {
      level = { shift, map: new Map() };
      levels[prefix.family].push(level);
    }
    level.map.set(prefix.base >> shift, lock);
  }
  for (const family of [4, 6] as const) levels[family].sort((a, b) => (a.shift < b.shift ? -1 : 1));

  return {
    size: locks.length,
    find(text, nowMs) {
      if (locks.length === 0) return undefined;
      const address = parseAddress(text);
      if (!address) return undefined;
      for (const { shift, map } of levels[address.family]) {
        const lock = map.get(address.value >> shift);
        if (lock && holds(lock, nowMs)) return lock;
      }
      return undefined;
    },
  };
}
