/**
 * Many mail servers in one process, each with an address and a certificate of its own or none, and the web server of MTA-STS
 * policies: `node parity-far.ts FILE`, where FILE has `FarFile`. Each event is a line; see sink.ts.
 */
import { readFileSync } from 'node:fs';
import { createServer as createHttps } from 'node:https';
import { createServer } from 'node:net';
import { createSecureContext } from 'node:tls';
import { Connection, type SinkEvent } from './sink.ts';

export type FarFile = {
  readonly key: string;
  readonly servers: readonly { readonly address: string; readonly port: number; readonly certificate?: string }[];
  /** the policy of each domain, at one address, over TLS with a certificate for all of their names */
  readonly policies: {
    readonly address: string;
    readonly certificate: string;
    readonly of: Readonly<Record<string, string>>;
  };
};

const { key, servers, policies } = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as FarFile;
const print = (event: SinkEvent): void => void process.stdout.write(`${JSON.stringify(event)}\n`);
let connections = 0;
const listening: Promise<void>[] = [];
for (const { address: host, port, certificate: cert } of servers) {
  const secure = cert === undefined ? undefined : createSecureContext({ key, cert });
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const connection = ++connections;
    print({ kind: 'connection', connection, from: socket.remoteAddress ?? '' });
    new Connection(socket, connection, secure, print);
  });
  listening.push(new Promise((resolve) => server.listen({ host, port }, resolve)));
}
const web = createHttps({ key, cert: policies.certificate }, (asked, answer) => {
  const policy = policies.of[(asked.headers.host ?? '').replace(/^mta-sts\./, '')];
  const isFound = policy !== undefined && asked.url === '/.well-known/mta-sts.txt';
  answer.writeHead(isFound ? 200 : 404, { 'content-type': 'text/plain' }).end(isFound ? policy : 'nothing');
});
listening.push(new Promise((resolve) => web.listen({ host: policies.address, port: 443 }, resolve)));
await Promise.all(listening);
print({ kind: 'ready' });
// Whoever started this holds its input: when that one is gone, so are we.
process.stdin.on('end', () => process.exit(0)).resume();
