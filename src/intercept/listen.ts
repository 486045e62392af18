/**
 * Adopts the listeners that systemd or `postern run` opened and keeps open, so that hosts wait through a restart of
 * this worker instead of being refused. In this order (LISTEN_FDS protocol): 3 IPv4, 4 IPv6, 5 the probe's unix socket.
 */
import { createServer, type Server, type Socket } from 'node:net';

const FIRST_FD = 3;

export type Listeners = {
  /** Takes no new connection here; those that wait in the kernel stay for the next worker. */
  close(): void;
};

/** Throws when no listeners were handed down to this very process. */
export function adoptListeners(on: { host: (socket: Socket) => void; probe: (socket: Socket) => void }): Listeners {
  const count = Number(process.env['LISTEN_PID']) === process.pid ? Number(process.env['LISTEN_FDS']) : 0;
  if (count !== 3) {
    throw new Error(
      `expected 3 listeners (IPv4, IPv6, probe) handed down by systemd or "postern run", got ${count}: start the worker through one of these`,
    );
  }
  const adopt = (fd: number, onSocket: (socket: Socket) => void): Server => {
    // A host may close its sending side after QUIT and still read.
    const server = createServer({ allowHalfOpen: true, noDelay: true }, onSocket);
    server.listen({ fd });
    return server;
  };
  const servers = [adopt(FIRST_FD, on.host), adopt(FIRST_FD + 1, on.host), adopt(FIRST_FD + 2, on.probe)];
  return {
    close() {
      for (const server of servers) server.close();
    },
  };
}
