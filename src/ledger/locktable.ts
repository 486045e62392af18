/** Which lock holds for whom: the longest prefix that has the address and has not run out, else the subscriber's, else the tenant's. */
import { parsePrefix } from '../kit/address.ts';
import { PrefixMap } from '../kit/prefix-map.ts';
import type { Lock } from './language.ts';
import { holds } from './register.ts';

/** Whom a lock may be about. */
export type Locked = {
  readonly address: string;
  /** `subjectOf` */
  readonly subject: string;
  readonly tenant: string | undefined;
};

export type LockTable = {
  readonly size: number;
  /** the lock that holds for this address now, or for the subscriber or tenant that it belongs to */
  readonly find: (address: string, nowMs: number, of?: Omit<Locked, 'address'>) => Lock | undefined;
  /** the lock of an identity behind it */
  readonly findIdentity: (identity: string, of: Locked, nowMs: number) => Lock | undefined;
};

/** What a lock of a tenant has as its subject. */
export function tenantSubject(tenant: string): string {
  return `tenant:${tenant}`;
}

/** Subjects that are neither prefix nor name hold for nobody; the keeper makes none. */
export function lockTable(locks: readonly Lock[]): LockTable {
  const prefixes = new PrefixMap<Lock>();
  const names = new Map<string, Lock>();
  /** by identity: many subscribers may have one of the same name */
  const identities = new Map<string, { readonly lock: Lock; readonly has: (of: Locked) => boolean }[]>();
  for (const lock of locks) {
    const prefix = parsePrefix(lock.subject);
    if (lock.identity !== undefined) {
      const own = prefix && new PrefixMap([[prefix, true]]);
      const has = own
        ? ({ address }: Locked) => own.find(address) === true
        : ({ subject, tenant }: Locked) =>
            lock.subject === subject || (tenant !== undefined && lock.subject === tenantSubject(tenant));
      const list = identities.get(lock.identity);
      if (list) list.push({ lock, has });
      else identities.set(lock.identity, [{ lock, has }]);
    } else if (prefix) prefixes.set(prefix, lock);
    else names.set(lock.subject, lock);
  }
  const named = (name: string, nowMs: number): Lock | undefined => {
    const lock = names.get(name);
    return lock && holds(lock, nowMs) ? lock : undefined;
  };
  return {
    size: locks.length,
    find(text, nowMs, of) {
      const found = prefixes.find(text, (lock) => holds(lock, nowMs));
      if (found || names.size === 0 || !of) return found;
      return named(of.subject, nowMs) ?? (of.tenant === undefined ? undefined : named(tenantSubject(of.tenant), nowMs));
    },
    findIdentity: (identity, of, nowMs) =>
      identities.get(identity)?.find(({ lock, has }) => holds(lock, nowMs) && has(of))?.lock,
  };
}
