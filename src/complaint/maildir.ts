/**
 * Complaints from a Maildir: what lies in `new` is moved to `cur` as seen, read and noted, the oldest first.
 *
 * What cannot be moved is not read: it would be noted again at each look. What cannot be taken stands in nobody's way.
 */
import { constants, promises as fs } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../kit/log.ts';
import { MAX_COMPLAINT_BYTES } from './intake.ts';

/** in one look: the next comes soon */
const MAX_AT_ONCE = 50;
/** A pipe would be waited for, and a link can lead anywhere. */
const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;

export type Maildir = {
  /** Looks once; a look while one is under way is none. Never rejects. */
  readonly look: () => Promise<void>;
};

export function maildir(directory: string, onMail: (mail: string) => Promise<void>, log: Log): Maildir {
  let isLooking = false;
  let isSaid = false;
  const complain = (error: unknown): void => {
    if (!isSaid) log.write('error', 'complaints.not-read', { directory, error: String(error) });
    isSaid = true;
  };
  const take = async (name: string): Promise<void> => {
    const path = join(directory, 'new', name);
    const seen = join(directory, 'cur', `${name.replace(/:2,.*$/, '')}:2,S`);
    const file = await fs.open(path, FLAGS);
    try {
      if (!(await file.stat()).isFile()) throw new Error(`${path}: expected a file`);
      await fs.rename(path, seen);
      try {
        const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_COMPLAINT_BYTES), 0, MAX_COMPLAINT_BYTES, 0);
        await onMail(buffer.toString('latin1', 0, bytesRead));
      } catch (error) {
        await fs.rename(seen, path);
        throw error;
      }
    } finally {
      await file.close();
    }
  };
  /** False where the mail stays. */
  const isTaken = (name: string): Promise<boolean> =>
    take(name).then(
      () => true,
      (error: unknown) => {
        complain(error);
        return false;
      },
    );
  return {
    async look() {
      if (isLooking) return;
      isLooking = true;
      try {
        const names = (await fs.readdir(join(directory, 'new'))).filter((name) => !name.startsWith('.')).sort();
        let [taken, left] = [0, 0];
        for (const name of names) {
          if (await isTaken(name)) taken++;
          else left++;
          if (taken === MAX_AT_ONCE) break;
        }
        if (left === 0) isSaid = false;
      } catch (error) {
        complain(error);
      } finally {
        isLooking = false;
      }
    },
  };
}
