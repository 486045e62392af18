/** Complaints from a Maildir: what lies in `new` is read, noted, and moved to `cur` as seen, the oldest first. */
import { promises as fs } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../kit/log.ts';
import { MAX_COMPLAINT_BYTES } from './intake.ts';

/** in one look: the next comes soon */
const MAX_AT_ONCE = 50;

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
    const file = await fs.open(path, 'r');
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_COMPLAINT_BYTES), 0, MAX_COMPLAINT_BYTES, 0);
      await onMail(buffer.toString('latin1', 0, bytesRead));
    } finally {
      await file.close();
    }
    await fs.rename(path, join(directory, 'cur', `${name.replace(/:2,.*$/, '')}:2,S`));
  };
  return {
    async look() {
      if (isLooking) return;
      isLooking = true;
      try {
        const names = (await fs.readdir(join(directory, 'new'))).filter((name) => !name.startsWith('.')).sort();
        for (const name of names.slice(0, MAX_AT_ONCE)) await take(name);
        isSaid = false;
      } catch (error) {
        complain(error);
      } finally {
        isLooking = false;
      }
    },
  };
}
