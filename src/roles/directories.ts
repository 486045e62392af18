/**
 * Makes run_dir and state_dir with the right owners, as root, and says what is in the way before a role trips over it.
 * Under systemd the same is done by systemd/postern.tmpfiles.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { copiedSubscribers } from '../config/load.ts';
import { isSubscriberFile } from '../config/subscribers.ts';
import { runPaths } from '../kit/run-dir.ts';
import { type Role, sharedGroup, userOf } from '../kit/users.ts';

const ROLES: readonly Role[] = ['guard', 'keeper', 'worker'];

/** Something about the machine's directories that the operator has to change; the message says how. */
export class DirectoryError extends Error {
  override readonly name = 'DirectoryError';
}

export function makeDirectories(runDir: string, stateDir: string): void {
  makeRunDir(runDir);
  makeStateDir(stateDir);
  for (const role of ROLES) refuseIfShut(role, runDir, 'run_dir');
  refuseIfShut('keeper', stateDir, 'state_dir');
}

function makeRunDir(runDir: string): void {
  mkdirSync(runDir, { recursive: true });
  const { uid, mode } = statSync(runDir);
  if (uid !== 0 || (mode & 0o022) !== 0)
    throw new DirectoryError(
      `run_dir ${runDir} can be written by others, who could put their sockets in the place of ours. ` +
        `Name a directory of its own, or: chown root ${runDir} && chmod 755 ${runDir}`,
    );
  const paths = runPaths(runDir);
  const [keeper, worker, shared] = [userOf('keeper'), userOf('worker'), sharedGroup()];
  makeOwned(paths.keeperDir, keeper.uid, shared.gid, 0o2750);
  makeOwned(paths.issuerDir, keeper.uid, worker.gid, 0o2750);
  makeOwned(paths.spoolDir, worker.uid, worker.gid, 0o700);
  makeOwned(paths.code, 0, 0, 0o755);
  rmSync(paths.keeperSocket, { force: true });
  symlinkSync(relative(runDir, paths.keeperListen), paths.keeperSocket);
}

/** The keeper's alone. What is already in it is never given away: a slip in the configuration must not chown /etc. */
function makeStateDir(stateDir: string): void {
  mkdirSync(stateDir, { recursive: true });
  const { name, uid, gid } = userOf('keeper');
  if (statSync(stateDir).uid !== uid && readdirSync(stateDir).length > 0)
    throw new DirectoryError(
      `state_dir ${stateDir} holds files and does not belong to ${name} (user id ${uid}). ` +
        `Name a directory of its own, or, if these are Postern's: chown -R ${uid}:${gid} ${stateDir}`,
    );
  makeOwned(stateDir, uid, gid, 0o700);
}

function makeOwned(path: string, uid: number, gid: number, mode: number): void {
  mkdirSync(path, { recursive: true });
  chownSync(path, uid, gid);
  // after chown, which takes the set-group-id bit away
  chmodSync(path, mode);
}

function refuseIfShut(role: Role, path: string, key: string): void {
  if (!passes(role, '-x', path))
    throw new DirectoryError(
      `${key} ${path} cannot be reached by ${userOf(role).name}: a directory above it is shut. ` +
        `Give that directory chmod o+x, or choose another ${key}`,
    );
}

/** Can the role's users read the code, and run Node? The way to `codeDir` may be shut, since it is mounted elsewhere. */
export function refuseUnreadableCode(codeDir: string, nodePath: string): void {
  const shut = ['src', 'src/main.ts', 'node_modules'].find((name) => {
    const mode = statSync(join(codeDir, name), { throwIfNoEntry: false })?.mode ?? 0o777;
    return (mode & 0o004) === 0;
  });
  if (shut !== undefined)
    throw new DirectoryError(
      `${join(codeDir, shut)} can be read by its owner alone. Let others: chmod -R a+rX ${codeDir}`,
    );
  if (relative(codeDir, nodePath).startsWith('..') && !passes('worker', '-x', nodePath))
    throw new DirectoryError(`${nodePath} cannot be run by ${userOf('worker').name}. Use the project's own: npm ci`);
}

function passes(role: Role, test: string, path: string): boolean {
  const { uid, gid } = userOf(role);
  const who = ['--reuid', String(uid), '--regid', String(gid), '--groups', String(sharedGroup().gid)];
  return spawnSync('setpriv', [...who, 'test', test, path], { timeout: 5_000 }).status === 0;
}

/**
 * Puts the checked configuration where the roles read it, and the files of `subscribers.directory` beside it, so that a
 * role that starts while one of these is being changed takes what was checked.
 */
export function writeCheckedConfig(runDir: string, text: string, subscribersDirectory: string | undefined): void {
  const path = runPaths(runDir).config;
  copySubscribers(subscribersDirectory, copiedSubscribers(path));
  const draft = `${path}.new`;
  writeFileSync(draft, text, { mode: 0o640 });
  chownSync(draft, 0, sharedGroup().gid);
  chmodSync(draft, 0o640);
  renameSync(draft, path);
}

function copySubscribers(from: string | undefined, to: string): void {
  const draft = `${to}.new`;
  rmSync(draft, { recursive: true, force: true });
  if (from !== undefined) {
    const { gid } = sharedGroup();
    makeOwned(draft, 0, gid, 0o750);
    for (const name of readdirSync(from).filter(isSubscriberFile)) {
      // No link: the copy is for the roles to read, whatever it leads to.
      const file = openSync(join(from, name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      try {
        copyFileSync(`/proc/self/fd/${file}`, join(draft, name));
      } finally {
        closeSync(file);
      }
      chownSync(join(draft, name), 0, gid);
      chmodSync(join(draft, name), 0o640);
    }
  }
  rmSync(to, { recursive: true, force: true });
  if (from !== undefined) renameSync(draft, to);
}
