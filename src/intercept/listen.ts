/**
 * Adopts the listeners that systemd or `postern run` opened and keeps open, so that hosts wait through a restart of
 * this worker instead of being refused. In this order (LISTEN_FDS protocol): 3 IPv4, 4 IPv6, 5 the probe's unix socket.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { inheritedListeners } from '../kit/inherited.ts';

/** As the listeners were opened; the kernel takes no more than net.core.somaxconn, which is 4096. */
const BACKLOG = 4096;

export type Listeners = {
  /**
   * Takes no new connection of hosts: those that come wait in the kernel, for `resume` or for the next worker. The
   * probe goes on being answered, since a worker that drains lives.
   */
  pause(): Promise<void>;
  resume(): void;
  /** Takes nothing any more. */
  close(): void;
};

type Handlers = {
  readonly host: (socket: Socket) => void;
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
  const adopt = (fd: number, onSocket: (socket: Socket) => void): Server => {
    // A host may close its sending side after QUIT and still read.
    const server = createServer({ allowHalfOpen: true, noDelay: true }, onSocket);
    server.on('error', (error) => on.failed(new Error(`descriptor ${fd} is no listener: ${error.message}`)));
    // Node calls listen(2) again on what it is given, and with 511 if nothing is said. A burst beyond that would meet
    // SYN cookies, where a last ACK that finds the queue full is lost for good: host and worker wait for each other.
    return server.listen({ fd }, BACKLOG);
  };
  const probes = adopt(probe, on.probe);
  let hosts = [v4, v6];
  let servers = hosts.map((fd) => adopt(fd, on.host));
  return {
    async pause() {
      // Closing a server closes its descriptor, and what is to be taken up again needs another.
      const { duplicate } = await import('../kit/native-socket.ts');
      hosts = hosts.map(duplicate);
      for (const server of servers) server.close();
      servers = [];
    },
    resume() {
      servers = hosts.map((fd) => adopt(fd, on.host));
    },
    close() {
      for (const server of [probes, ...servers]) server.close();
    },
  };
}
