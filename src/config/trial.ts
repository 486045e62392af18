/**
 * A configuration that is in effect on trial: the one before lies beside it, `FILE.before`, and `FILE.trial` says until when.
 * Whoever takes the one before away decides: confirmed, or back. Without both files there is no trial. Where nobody can be left to wait for its end, since the machine
 * has restarted or the time is over, whatever starts next goes back.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { writeAtomically } from '../kit/files.ts';
import { sharedGroup } from '../kit/users.ts';

export type Trial = {
  /** milliseconds since 1970 */
  readonly until: number;
  /** which trial: a later one is not ended by the end of an earlier */
  readonly id: string;
  /** the kernel's boot_id */
  readonly boot: string;
  /** where the keeper reads of it, who may not look beside the file */
  readonly told: string | undefined;
};

/** Beyond the end of a trial, for whoever waits to go back. */
const LATE_MS = 60_000;

const before = (file: string): string => `${file}.before`;
const note = (file: string): string => `${file}.trial`;

/** The trial that runs, if one does. */
export function trialOf(file: string): Trial | undefined {
  try {
    return JSON.parse(readFileSync(note(file), 'utf8')) as Trial;
  } catch {
    return undefined;
  }
}

/** Puts `next` in the place of `file`, with its owner and rights. What was there is kept until the end of the trial. */
export function begin(file: string, next: string, trial: Trial): void {
  // A trial in a trial goes back to where the first began; what a crash has left beside no trial is nobody's to go back to.
  if (!trialOf(file) || !existsSync(before(file))) copyAs(file, before(file), file);
  writeAtomically(note(file), JSON.stringify(trial));
  if (trial.told !== undefined) tellRoles(trial.told, { until: trial.until });
  copyAs(next, file, file);
}

/** True when this ended it, and no other. */
export function confirm(file: string): boolean {
  return end(file, () => unlinkSync(before(file)));
}

/** The same; the configuration before is in its place again. */
export function goBack(file: string): boolean {
  return end(file, () => renameSync(before(file), file));
}

/** Goes back from a trial that nobody waits for any more; true when there was one. */
export function goBackIfOver(file: string): boolean {
  return isOver(file) && goBack(file);
}

/** The file that holds what is to be in effect: the one before, where nobody waits for the end of a trial any more. */
export function inEffect(file: string): string {
  return isOver(file) && existsSync(before(file)) ? before(file) : file;
}

export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

function isOver(file: string): boolean {
  const trial = trialOf(file);
  return trial !== undefined && (trial.boot !== bootId() || trial.until + LATE_MS < Date.now());
}

/** The note goes last: as long as it is there, whoever starts next sees to the end of what a crash has cut short. */
function end(file: string, take: () => void): boolean {
  const trial = trialOf(file);
  if (!trial) return false;
  let isOurs = true;
  try {
    take();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    isOurs = false;
  }
  rmSync(note(file), { force: true });
  if (trial.told !== undefined) rmSync(trial.told, { force: true });
  return isOurs;
}

function copyAs(from: string, to: string, like: string): void {
  const draft = `${to}.new`;
  copyFileSync(from, draft);
  const { uid, gid, mode } = statSync(like);
  chownSync(draft, uid, gid);
  chmodSync(draft, mode);
  const written = openSync(draft, 'r');
  try {
    fsyncSync(written);
  } finally {
    closeSync(written);
  }
  renameSync(draft, to);
}

/** For the roles to read, and nobody's but root's to write. */
export function tellRoles(path: string, what: object): void {
  writeAtomically(path, JSON.stringify(what));
  // Who is not root tries it out, and has no roles.
  if (process.getuid?.() !== 0) return;
  chownSync(path, 0, sharedGroup().gid);
  chmodSync(path, 0o640);
}
