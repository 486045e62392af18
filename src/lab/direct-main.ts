/**
 * A mail server as far as a sender can tell, for places where a connection is what counts: it reports each connection
 * as it comes, then says yes to everything and reports what it took.
 *
 *     node src/lab/direct-main.ts --name mx.example.org --listen 203.0.113.25:25 --listen [2001:db8:2::25]:25
 */
import { createServer, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import type { Reached } from './direct.ts';
import { endpoint, ready, report } from './report.ts';

const { values } = parseArgs({
  options: {
    listen: { type: 'string', multiple: true, default: [] },
    name: { type: 'string', default: 'mx.example.org' },
  },
});

/** A line longer than this, or a body longer than MAX_BODY, is not kept. */
const MAX_LINE = 4096;
const MAX_BODY = 1024 ** 2;
const IDLE_MS = 30_000;

function converse(socket: Socket): void {
  const ends = { from: socket.remoteAddress ?? '', to: socket.localAddress ?? '', port: socket.localPort ?? 0 };
  const tell = (line: Pick<Reached, 'kind'> & Partial<Reached>): void => report({ ...ends, ...line });
  let rest = '';
  let body: string | undefined;
  tell({ kind: 'connection' });
  socket.setEncoding('latin1').setTimeout(IDLE_MS, () => socket.destroy());
  socket.on('error', () => {});
  socket.write(`220 ${values.name} reached directly\r\n`);
  socket.on('data', (chunk: string) => {
    rest += chunk;
    for (let at = rest.indexOf('\n'); at >= 0; at = rest.indexOf('\n')) {
      const line = rest.slice(0, at).replace(/\r$/, '');
      rest = rest.slice(at + 1);
      if (body !== undefined) {
        if (line !== '.') {
          if (body.length < MAX_BODY) body += `${line}\n`;
          continue;
        }
        const top = body.slice(0, body.indexOf('\n'));
        tell({ kind: 'message', subject: /^Subject: *(.*)$/im.exec(body)?.[1] ?? '', top });
        body = undefined;
        socket.write(`250 2.0.0 Taken by ${values.name} directly\r\n`);
      } else if (/^DATA$/i.test(line)) {
        body = '';
        socket.write('354 Go on\r\n');
      } else if (/^QUIT$/i.test(line)) socket.end('221 2.0.0 Bye\r\n');
      else socket.write(`250 ${values.name}\r\n`);
    }
    if (rest.length > MAX_LINE) rest = rest.slice(-MAX_LINE);
  });
}

await Promise.all(
  values.listen.map(
    (text) =>
      new Promise<void>((resolve, reject) => {
        createServer(converse)
          .once('error', reject)
          .listen({ ...endpoint(text), ipv6Only: true }, resolve);
      }),
  ),
);
ready();
