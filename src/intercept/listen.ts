/**
 * Adopts the listeners that systemd or `postern run` opened and keeps open, so that hosts wait through a restart of
 * this worker instead of being refused. In this order (LISTEN_FDS protocol): 3 IPv4, 4 IPv6, 5 the probe's unix socket.
 */
import { createServer, type Socket } from 'node:net';
import { inheritedListeners } from '../kit/inherited.ts';
import { type Accepted, TcpAcceptor } from '../kit/tcp-open.ts';

/**
 * As the listeners were opened; the kernel takes no more than net.core.somaxconn, which is 4096. A burst beyond a shorter
 * queue would meet SYN cookies, where a last ACK that finds the queue full is lost for good: host and worker wait for
 * each other.
 */
const BACKLOG = 4096;

export type Listeners = {
  /**
   * Takes no new connection of hosts: those that come wait in the kernel, for `resume` or for the next worker. The
   * probe goes on being answered, since a worker that drains lives.
   */
  pause(): void;
  resume(): void;
  /** Takes nothing any more. */
  close(): void;
};

type Handlers = {
  readonly host: (accepted: Accepted) => void;
  readonly probe: (socket: Socket) => void;
  /** a listener that cannot be used, at the start: nothing else is to be done than to end */
  readonly failed: (error: Error) => void;
};

/** Throws when no listeners were handed down to this very process. */
export function adoptListeners(on: Handlers): Listeners {
  const [v4, v6, probe] = inheritedListeners();
  if (v4 === undefined || v6 === undefined || probe === undefined) {
    throw new Error(
      'no listeners (IPv4, IPv6, probe) were handed down: start the worker with systemd (postern-worker@N) or "postern run"',
    );
  }
  const noListener = (fd: number, error: Error): void =>
    on.failed(new Error(`descriptor ${fd} is no listener: ${error.message}`));
  const probes = createServer(on.probe);
  probes.on('error', (error) => noListener(probe, error));
  probes.listen({ fd: probe });
  const hosts = [v4, v6].flatMap((fd) => {
    try {
      return [new TcpAcceptor(fd, BACKLOG, on.host)];
    } catch (error) {
      noListener(fd, error as Error);
      return [];
    }
  });
  const resume = (): void => {
    for (const host of hosts) host.resume();
  };
  const pause = (): void => {
    for (const host of hosts) host.pause();
  };
  resume();
  return {
    pause,
    resume,
    close() {
      pause();
      probes.close();
    },
  };
}
