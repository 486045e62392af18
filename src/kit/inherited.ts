/**
 * Listeners handed down by whoever started us, systemd or `postern run`: sd_listen_fds(3) without the library.
 */

const FIRST = 3;

/**
 * The inherited descriptors, from 3 up, in the order of the socket unit: for a worker IPv4, IPv6, probe. Empty when there
 * are none or when they were meant for another process (LISTEN_PID): what stands at 3 is then something else.
 */
export function inheritedListeners(
  env: Readonly<Record<string, string | undefined>> = process.env,
  pid: number = process.pid,
): number[] {
  if (env['LISTEN_PID'] !== String(pid) || !/^[1-9]\d{0,2}$/.test(env['LISTEN_FDS'] ?? '')) return [];
  return Array.from({ length: Number(env['LISTEN_FDS']) }, (_, i) => FIRST + i);
}
