/**
 * A client inside the namespace. One command a line on standard input, one JSON line for each outcome:
 *   open ID HOST PORT | open ID PATH   connect, report the first line received (or the error)
 *   send ID TEXT                       write a line; report what closes the connection
 */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const sockets = new Map<string, Socket>();
const report = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

for await (const line of createInterface(process.stdin)) {
  const [verb = '', id = '', where = '', port] = line.split(' ');
  if (verb === 'send') {
    sockets.get(id)?.write(`${line.slice(verb.length + id.length + 2)}\r\n`);
    continue;
  }
  const startedAt = performance.now();
  const socket = port === undefined ? connect(where) : connect(Number(port), where);
  sockets.set(id, socket);
  let heard = '';
  socket.on('data', (chunk) => {
    if (heard === '') report({ id, got: String(chunk).trim(), afterMs: Math.round(performance.now() - startedAt) });
    heard += String(chunk);
  });
  socket.on('error', (error: NodeJS.ErrnoException) => report({ id, error: error.code }));
  socket.on('close', () => report({ id, closed: heard.trim().split('\r\n').at(-1) ?? '' }));
}
process.exit(0);
