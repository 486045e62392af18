/**
 * A configuration that is in effect on trial: the one before lies beside it, `FILE.before`, and `FILE.trial` says until when.
 * Whoever takes that file away decides: confirmed, or back.
 */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { writeAtomically } from '../../kit/files.ts';

export type Trial = {
  /** milliseconds since 1970 */
  readonly until: number;
  /** which trial: a later one is not ended by the end of an earlier */
  readonly id: string;
};

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
  // A trial in a trial goes back to where the first began.
  if (!existsSync(before(file))) copyAs(file, before(file), file);
  writeAtomically(note(file), JSON.stringify(trial));
  copyAs(next, `${file}.new`, file);
  renameSync(`${file}.new`, file);
}

/** True when this ended it, and no other. */
export function confirm(file: string): boolean {
  if (!take(file)) return false;
  rmSync(before(file), { force: true });
  return true;
}

/** The same; the configuration before is in its place again. */
export function goBack(file: string): boolean {
  if (!take(file)) return false;
  renameSync(before(file), file);
  return true;
}

function take(file: string): boolean {
  try {
    unlinkSync(note(file));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function copyAs(from: string, to: string, like: string): void {
  copyFileSync(from, to);
  const { uid, gid, mode } = statSync(like);
  chownSync(to, uid, gid);
  chmodSync(to, mode);
}
