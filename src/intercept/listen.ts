/**
 * Adopts the listeners that systemd or `postern run` opened and keeps open, so that hosts wait through a restart of
 * this worker instead of being refused. In this order (LISTEN_FDS protocol): 3 IPv4, 4 IPv6, 5 the probe's unix socket.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { inheritedListeners } from '../kit/inherited.ts';

export type Listeners = {
  /** Takes no new connection here; those that wait in the kernel stay for the next worker. */
  close(): void;
};

/** Throws when no listeners were handed down to this very process. */
export function adoptListeners(on: { host: (socket: Socket) => void; probe: (socket: Socket) => void }): Listeners {
  const [v4, v6, probe] = inheritedListeners();
  if (v4 === undefined || v6 === undefined || probe === undefined) {
    throw new Error(
      'no listeners (IPv4, IPv6, probe) were handed down: start the worker with systemd (postern-worker@N) or "postern run"',
    );
  }
  const adopt = (fd: number, onSocket: (socket: Socket) => void): Server => {
    // A host may close its sending side after QUIT and still read.
    const server = createServer({ allowHalfOpen: true, noDelay: true }, onSocket);
    server.listen({ fd });
    return server;
  };
  const servers = [adopt(v4, on.host), adopt(v6, on.host), adopt(probe, on.probe)];
  return {
    close() {
      for (const server of servers) server.close();
    },
  };
}
