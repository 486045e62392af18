/**
 * The users that the roles run as, and the group that lets them talk to each other.
 *
 * Installed, they are made by systemd-sysusers (systemd/postern.sysusers) and looked up here by name. A checkout makes no
 * account: it uses fixed numbers that need none. 60924 to 60927 lie in a gap that systemd leaves unused (60578 to 61183,
 * below its DynamicUser range) and where Debian has allocated nothing (its list begins at 63434).
 */
import { readFileSync } from 'node:fs';

export type Role = 'guard' | 'keeper' | 'worker';

export type User = {
  readonly name: string;
  readonly uid: number;
  /** the user's own group: what a file is given to that this role alone may read */
  readonly gid: number;
};

const CHECKOUT_ID: Readonly<Record<Role, number>> = { guard: 60925, keeper: 60926, worker: 60927 };
const CHECKOUT_GROUP_ID = 60924;

/** The user of a role, from `passwdPath` or, where it has none, with the fixed number of a checkout. */
export function userOf(role: Role, passwdPath = '/etc/passwd'): User {
  const name = `postern-${role}`;
  const fields = entryOf(name, passwdPath);
  const number = CHECKOUT_ID[role];
  return fields ? { name, uid: Number(fields[2]), gid: Number(fields[3]) } : { name, uid: number, gid: number };
}

/**
 * The group that all roles have besides their own: it may connect to the sockets in run_dir, other users may not.
 * An operator who shall use `postern status` or `lock` without being root is put into it.
 */
export function sharedGroup(groupPath = '/etc/group'): { readonly name: string; readonly gid: number } {
  const fields = entryOf('postern', groupPath);
  return { name: 'postern', gid: fields ? Number(fields[2]) : CHECKOUT_GROUP_ID };
}

function entryOf(name: string, path: string): string[] | undefined {
  return readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find((fields) => fields[0] === name);
}
