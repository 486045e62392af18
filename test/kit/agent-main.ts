/**
 * A process that listens and connects wherever it is started, on orders from the test that started it (agent.ts): one
 * for each namespace, so that a connection costs no process. Ends with its IPC channel.
 */
import { createConnection, createServer, type Socket } from 'node:net';
import { openListener, openUnixListener } from '../../src/kit/native-socket.ts';
import type { Accepted, Order, Outcome } from './agent.ts';

const held = new Map<number, Socket>();
const silent = new Set<string>();
const accepted: Accepted[] = [];

/** Greets, then says every line again, which shows that a connection carries both ways; ends at `bye` and `forget`. */
function serve(socket: Socket, greeting: string): void {
  socket.on('error', () => {});
  accepted.push({ from: socket.remoteAddress ?? '', to: socket.localAddress ?? '', port: socket.localPort ?? 0 });
  socket.write(`220 ${greeting} ${socket.localAddress} ${socket.localPort}\r\n`);
  socket.on('data', (chunk) => {
    const line = String(chunk).trim();
    if (line === 'bye') socket.end();
    else if (line === 'forget') socket.resetAndDestroy();
    else socket.write(chunk);
  });
}

function connect(order: Extract<Order, { do: 'connect' }>): Promise<Outcome> {
  return new Promise((resolve) => {
    const { to, port, from, fromPort, timeoutMs } = order;
    const socket = createConnection({
      host: to,
      port,
      ...(from === undefined ? {} : { localAddress: from }),
      ...(fromPort === undefined ? {} : { localPort: fromPort }),
    });
    const end = (outcome: Outcome): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on('error', () => {});
      if (order.hold !== undefined && outcome.greeting !== undefined) held.set(order.hold, socket);
      else socket.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(end, timeoutMs, { error: 'timeout' });
    socket.once('error', (error: NodeJS.ErrnoException) => end({ error: error.code ?? error.message }));
    socket.once('close', () => end({ error: 'closed' }));
    socket.once('data', (chunk) => end({ greeting: String(chunk).trim() }));
  });
}

/** Sends a line over a held connection and waits for what comes back. */
function say({ hold, line, timeoutMs }: Extract<Order, { do: 'say' }>): Promise<Outcome> {
  const socket = held.get(hold);
  if (!socket) return Promise.resolve({ error: 'not held' });
  return new Promise((resolve) => {
    const end = (outcome: Outcome): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on('error', () => {});
      resolve(outcome);
    };
    const timer = setTimeout(end, timeoutMs, { error: 'timeout' });
    socket.once('error', (error: NodeJS.ErrnoException) => end({ error: error.code ?? error.message }));
    socket.once('close', () => end({ error: 'closed' }));
    socket.once('data', (chunk) => end({ greeting: String(chunk).trim() }));
    socket.write(`${line}\r\n`);
  });
}

type Answer = Outcome | boolean | readonly Accepted[];

async function obey(order: Order): Promise<Answer> {
  switch (order.do) {
    case 'listen': {
      const { address, port, transparent, greeting } = order;
      const family = address.includes(':') ? 6 : 4;
      const fd = openListener({ family, address, port, transparent, reusePort: true, backlog: 512 });
      const server = createServer((socket) => serve(socket, greeting));
      await new Promise<void>((resolve) => server.listen({ fd }, resolve));
      return true;
    }
    case 'probe': {
      const fd = openUnixListener({ path: order.path, mode: 0o666, gid: 0, backlog: 64 });
      const server = createServer((socket) => {
        socket.on('error', () => {});
        if (!silent.has(order.path)) socket.end('220 probe\r\n');
      });
      await new Promise<void>((resolve) => server.listen({ fd }, resolve));
      return true;
    }
    case 'answer':
      if (order.answer) silent.delete(order.path);
      else silent.add(order.path);
      return true;
    case 'connect':
      return connect(order);
    case 'say':
      return say(order);
    case 'reset':
      held.get(order.hold)?.resetAndDestroy();
      return held.delete(order.hold);
    case 'accepted':
      break;
  }
  return accepted.splice(0);
}

process.on('message', ({ id, order }: { id: number; order: Order }) => {
  obey(order).then(
    (answer) => process.send?.({ id, answer }),
    (error: unknown) => process.send?.({ id, error: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send?.({ id: 0, answer: 'ready' });
