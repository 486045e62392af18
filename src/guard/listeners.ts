/**
 * The listeners of one worker, opened by root and handed down, so that they outlive the worker: while it is away,
 * connections wait in them instead of being refused.
 *
 * Each worker has its own pair on intercept.port; SO_REUSEPORT lets the kernel spread connections over them, and the
 * probe shows that this worker answers and not just some worker.
 */
import { closeSync } from 'node:fs';
import { openListener, openUnixListener } from '../kit/native-socket.ts';
import { runPaths } from '../kit/run-dir.ts';

/** How many connections wait while a worker is away; the kernel lowers it to net.core.somaxconn (4096). */
const BACKLOG = 4096;

export type WorkerListeners = {
  /** descriptors in the order of the protocol: IPv4, IPv6, probe; they become 3, 4, 5 of the worker */
  readonly fds: readonly [number, number, number];
  /** Closes them here; the worker's copies stay open. */
  readonly close: () => void;
};

/** Opens the listeners of worker `worker` (1 and up). Needs CAP_NET_ADMIN and the right to write in run_dir. */
export function openWorkerListeners(of: {
  readonly worker: number;
  readonly port: number;
  readonly runDir: string;
  /** who may connect to the probe besides us */
  readonly gid: number;
}): WorkerListeners {
  const opened: number[] = [];
  const close = (): void => {
    for (const fd of opened.splice(0)) closeSync(fd);
  };
  try {
    const tcp = { port: of.port, transparent: true, reusePort: true, backlog: BACKLOG } as const;
    const v4 = openListener({ family: 4, address: '0.0.0.0', ...tcp });
    opened.push(v4);
    const v6 = openListener({ family: 6, address: '::', ...tcp });
    opened.push(v6);
    const probe = openUnixListener({
      path: runPaths(of.runDir).probe(of.worker),
      mode: 0o660,
      gid: of.gid,
      backlog: 64,
    });
    opened.push(probe);
    return { fds: [v4, v6, probe], close };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * Is the port taken, by an earlier gateway that still drains or by a stranger? The listeners above would not notice:
 * SO_REUSEPORT lets all of one user's sockets share it, and half of the connections would end up in the old ones.
 */
export function portIsTaken(port: number): boolean {
  for (const [family, address] of [
    [4, '0.0.0.0'],
    [6, '::'],
  ] as const) {
    try {
      closeSync(openListener({ family, address, port, transparent: false, reusePort: false, backlog: 1 }));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return true;
      throw error;
    }
  }
  return false;
}
