/** Checks of what the machine has for the gateway: descriptors, disk, and the right time. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import type { Config } from '../../config/schema.ts';
import { clockIsSynchronised } from '../../kit/libc.ts';
import { bytes } from '../show.ts';
import type { Finding } from './finding.ts';

/** From 80 % of a worker's descriptors on new sessions are told 421; a session has one or two. */
const LEAST_DESCRIPTORS = 4096;
const LEAST_FREE_BYTES = 256 * 1024 * 1024;
const LEAST_FREE_FILES = 1000;

/** The limit that each worker which runs here has. */
export function checkDescriptors(): Finding[] {
  const low = workersHere().filter(({ limit }) => limit < LEAST_DESCRIPTORS);
  if (low.length === 0) return [{ check: 'descriptors', state: 'ok', text: 'enough for each worker that runs' }];
  return low.map(({ title, limit }) => ({
    check: 'descriptors',
    state: 'fault',
    text: `${title} may have ${limit} open: from ${Math.floor(limit * 0.8)} on new sessions are told 421`,
    mend: 'systemctl edit postern-worker@.service: LimitNOFILE=65536 (from a checkout: ulimit -n 65536)',
  }));
}

function workersHere(): { readonly title: string; readonly limit: number }[] {
  const here = readlinkSync('/proc/self/ns/net');
  return readdirSync('/proc').flatMap((pid) => {
    try {
      const [title = ''] = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
      if (!title.startsWith('postern: worker') || readlinkSync(`/proc/${pid}/ns/net`) !== here) return [];
      const soft = /^Max open files +(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1];
      return [{ title: title.trim(), limit: soft === undefined ? Infinity : Number(soft) }];
    } catch {
      // Not a process, or one that has ended meanwhile.
      return [];
    }
  });
}

/** Signatures, certificates and what is limited by the day depend on it. */
export function checkClock(isSynchronised: () => boolean = clockIsSynchronised): Finding {
  return isSynchronised()
    ? { check: 'clock', state: 'ok', text: 'the kernel says that it is synchronised' }
    : {
        check: 'clock',
        state: 'fault',
        text: 'nothing keeps it right: signatures, certificates and limits by the day depend on it',
        mend: 'apt-get install chrony && systemctl enable --now chrony',
      };
}

export async function checkDisk({ gateway: { stateDir, runDir, workers }, limits }: Config): Promise<Finding[]> {
  return [
    await checkPlace(stateDir, ({ freeBytes, freeFiles }) =>
      freeBytes < LEAST_FREE_BYTES || freeFiles < LEAST_FREE_FILES
        ? `only ${bytes(freeBytes)} and ${freeFiles} files are left: what is recorded is lost when it is full`
        : undefined,
    ),
    await checkPlace(runDir, ({ sizeBytes }) =>
      sizeBytes < limits.bodyTotal * workers
        ? `${bytes(sizeBytes)} in all, and bodies may take limits.body_total for each of ${workers} workers, ${bytes(limits.bodyTotal * workers)}`
        : undefined,
    ),
  ];
}

type Space = { readonly sizeBytes: number; readonly freeBytes: number; readonly freeFiles: number };

async function checkPlace(dir: string, wrong: (space: Space) => string | undefined): Promise<Finding> {
  let space: Space;
  try {
    const { bsize, blocks, bavail, files, ffree } = await statfs(dir);
    // Some file systems make files as they are needed, and count none.
    space = { sizeBytes: blocks * bsize, freeBytes: bavail * bsize, freeFiles: files === 0 ? Infinity : ffree };
  } catch {
    return {
      check: 'disk',
      state: 'fault',
      text: `${dir} does not exist`,
      mend: 'systemd-tmpfiles --create postern.conf',
    };
  }
  const text = wrong(space);
  return text === undefined
    ? { check: 'disk', state: 'ok', text: `${dir}: ${bytes(space.freeBytes)} free` }
    : {
        check: 'disk',
        state: 'fault',
        text: `${dir}: ${text}`,
        mend: `df -h ${dir}; make room there, or less of journal.max_size and limits.body_total`,
      };
}
