/** Where bodies wait that are too large for memory: meant to be memory all the same. */
import { statfs } from 'node:fs/promises';
import type { Log } from '../kit/log.ts';

/** TMPFS_MAGIC and RAMFS_MAGIC of linux/magic.h */
const IN_MEMORY = new Set([0x01021994, 0x858458f6]);

/** Warns when `dir` is on a disk: message content would be written there, and mail would wait for it. Never rejects. */
export async function warnUnlessInMemory(dir: string, log: Log, typeOf = fileSystemType): Promise<void> {
  let type: number;
  try {
    type = await typeOf(dir);
  } catch (error) {
    log.write('warn', 'spool.not-there', { dir, error: String(error), do: 'look at gateway.run_dir and its owner' });
    return;
  }
  if (IN_MEMORY.has(type)) return;
  log.write('warn', 'spool.on-disk', {
    dir,
    effect: 'parts of large messages are written to a disk, and mail is as slow as it is',
    do: 'set gateway.run_dir to a directory on a tmpfs, as /run is, or mount one: mount -t tmpfs tmpfs DIRECTORY',
  });
}

async function fileSystemType(dir: string): Promise<number> {
  return (await statfs(dir)).type;
}
