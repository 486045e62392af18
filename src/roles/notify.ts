/**
 * Tells systemd how a role is: sd_notify(3). Without NOTIFY_SOCKET, under `postern run`, all of it does nothing.
 */

export type Notifier = {
  /**
   * READY=1, and from now on WATCHDOG=1 as often as the unit's WatchdogSec needs it. The timer is the caller's to clear;
   * undefined when nobody watches.
   */
  readonly ready: () => NodeJS.Timeout | undefined;
  /** STOPPING=1. The watchdog goes on: a drain that hangs is to be ended too. */
  readonly stopping: () => void;
};

type Environment = Readonly<Record<string, string | undefined>>;

const EVERY_MS = 1_000;

/**
 * A notifier for this process, from its environment. The native part is loaded only when there is somebody to tell.
 * The watchdog's beat comes from this loop: one that hangs falls silent, and systemd replaces the process.
 */
export async function createNotifier(env: Environment, pid: number): Promise<Notifier> {
  const path = env['NOTIFY_SOCKET'];
  if (path === undefined || path === '') return { ready: () => undefined, stopping() {} };
  const { sendNotify } = await import('../kit/native-socket.ts');
  const send = (text: string): void => {
    try {
      sendNotify(path, text);
    } catch {
      // systemd is too busy to listen, or restarts itself: the next beat is a second away
    }
  };
  return {
    ready: () => {
      send('READY=1');
      const beatMs = watchdogBeatMs(env, pid);
      return beatMs === undefined ? undefined : setInterval(send, beatMs, 'WATCHDOG=1').unref();
    },
    stopping: () => send('STOPPING=1'),
  };
}

/** A third of WatchdogSec, at most a second, so that one lost beat is none; undefined when no watchdog looks at us. */
export function watchdogBeatMs(env: Environment, pid: number): number | undefined {
  const microseconds = Number(env['WATCHDOG_USEC']);
  const isOurs = env['WATCHDOG_PID'] === undefined || env['WATCHDOG_PID'] === String(pid);
  return isOurs && microseconds > 0 ? Math.min(microseconds / 3_000, EVERY_MS) : undefined;
}

/** This process's own. */
export const notify = await createNotifier(process.env, process.pid);
