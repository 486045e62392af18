/**
 * The lab's panel, from outside its namespaces: a browser of this machine reaches only this machine. What it connects to
 * is handed on, as an open socket, to a process in the gateway's namespace.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Namespace } from './namespace.ts';

export type Doorway = {
  /** on 127.0.0.1 of this machine */
  readonly port: number;
  readonly close: () => Promise<void>;
};

const MAIN = fileURLToPath(new URL('doorway-main.ts', import.meta.url));
const MAX_CONNECTIONS = 100;

/** Listens at `wanted`, or at a port that is free; `to` is `address:port` in the namespace. */
export async function openDoorway(where: Namespace, to: string, wanted: number): Promise<Doorway> {
  const child = where.spawn(process.execPath, [MAIN, to], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  child.on('error', () => {});
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => {});
    if (child.connected) child.send('connection', socket, () => {});
    else socket.destroy();
  });
  server.maxConnections = MAX_CONNECTIONS;
  const listening = once(server, 'listening');
  server.listen(wanted, '127.0.0.1');
  await listening.catch(async () => {
    const again = once(server, 'listening');
    server.listen(0, '127.0.0.1');
    await again;
  });
  const address = server.address();
  return {
    port: address !== null && typeof address === 'object' ? address.port : 0,
    async close() {
      server.close();
      if (child.connected) child.disconnect();
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}
