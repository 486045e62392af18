/** What a syslog server gets: the lines by RFC 5424, over each transport, and what becomes of them while it is away. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { makeCertificate } from '../../../src/lab/smarthost.ts';
import { Syslog, type SyslogTarget } from '../../../src/record/syslog.ts';
import { syslogLines } from '../../../src/record/syslog-line.ts';
import { parseConfig } from '../../../src/config/load.ts';
import { logbook } from '../../kit/logbook.ts';
import { until } from '../../kit/wait.ts';
import { attempt } from '../ledger/sample.ts';

const parsed = await parseConfig(
  `[gateway]
name = "gw1.example.net"
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["192.0.2.25:587"]
[[network]]
name = "n"
prefixes = ["198.51.100.0/24"]
`,
  'postern.toml',
);
if (!parsed.ok) throw new Error(String(parsed.errors[0]?.message));
const options = { host: 'gw1.example.net', ...parsed.config.syslog };

test('one line about the message and one about the server that answered, with the same id', () => {
  const [message, server, ...more] = syslogLines(attempt({ verdict: 'reject', class: 'spam.gtube' }), options);
  assert.deepEqual(more, []);
  const head = '2023-11-14T22:13:20.000Z gw1.example.net postern -';
  assert.ok(message !== undefined && server !== undefined);
  assert.ok(message.startsWith(`<20>1 ${head} message [postern@32473 id="01HZX3V9Q00000A1" session=`), message);
  assert.match(message, / source="198\.51\.100\.7" .* verdict="reject" class="spam\.gtube" .*total_ms="140"\]$/);
  assert.equal(
    server,
    `<20>1 ${head} server [postern@32473 id="01HZX3V9Q00000A1" server="smtp.example.net:587" tls="TLSv1.3" reply="250 2.0.0 Ok: queued as 4XYZ" relay_ms="48"]`,
  );
  assert.equal(syslogLines(attempt({ upstreamReply: undefined }), options).length, 1);
});

test('facility and severity; only the fields that are asked for, in their order', () => {
  const [line] = syslogLines(attempt({ verdict: 'accept' }), {
    ...options,
    facility: 'local3',
    fields: ['class', 'sender'],
  });
  assert.ok(line !== undefined);
  assert.equal(line.slice(0, 6), '<158>1');
  assert.match(line, /id="01HZX3V9Q00000A1" class="accepted\.clean" sender="<alice@a\.example>"\]$/);
  assert.equal(syslogLines(attempt({ verdict: 'defer' }), options)[0]?.slice(0, 5), '<21>1');
});

test('Shows 5: whatever a stranger types, it is one clean line, and what it closes is escaped', () => {
  const hostile = [
    '\x1b[2J',
    'a\r\nb',
    'a\0b',
    'a\u2028b',
    '\u202edlrow',
    '"] x=',
    'back\\slash',
    'x'.repeat(10_000),
    '\ud800',
  ];
  for (const text of hostile) {
    const lines = syslogLines(attempt({ helo: text, sender: text, reply: text, upstreamReply: text }), options);
    for (const line of lines) {
      assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u, JSON.stringify(text));
      // Everything is in quotes: without them nothing of it is left.
      assert.match(
        line.replace(/="(?:[^"\\\]]|\\.)*"/g, ''),
        /^<\d+>1 [\w.:-]+ [\w.]+ postern - \w+ \[postern@32473[ \w]*\]$/,
        line,
      );
      assert.ok(line.length < 12_000);
    }
  }
});

async function serverOf(
  t: TestContext,
  server: Server,
  at = 0,
): Promise<{ readonly port: number; readonly got: () => string[]; readonly sockets: Socket[] }> {
  let text = '';
  const sockets: Socket[] = [];
  const event = 'setSecureContext' in server ? 'secureConnection' : 'connection';
  server.on('tlsClientError', () => {});
  server.on(event, (socket: Socket) => {
    sockets.push(socket);
    socket
      .on('error', () => {})
      .setEncoding('utf8')
      .on('data', (chunk: string) => (text += chunk));
  });
  server.listen(at, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  /** RFC 6587: the length, a blank, the line. */
  const got = (): string[] => {
    const lines: string[] = [];
    for (let rest = Buffer.from(text); rest.length > 0; ) {
      const [, digits = ''] = /^(\d+) /.exec(rest.toString('latin1', 0, 10)) ?? [];
      const end = digits.length + 1 + Number(digits);
      if (digits === '' || rest.length < end) break;
      lines.push(rest.toString('utf8', digits.length + 1, end));
      rest = rest.subarray(end);
    }
    return lines;
  };
  return { port: (server.address() as AddressInfo).port, got, sockets };
}

function senderTo(
  t: TestContext,
  port: number,
  change: Partial<SyslogTarget> = {},
): { readonly syslog: Syslog; readonly log: ReturnType<typeof logbook> } {
  const log = logbook();
  const syslog = new Syslog({ host: '127.0.0.1', port, transport: 'tcp', caFile: undefined, ...change }, log);
  t.after(() => syslog.close());
  return { syslog, log };
}

test('by UDP: a line is a datagram', async (t) => {
  const server = createSocket('udp4');
  t.after(() => server.close());
  const got: string[] = [];
  server.on('message', (message) => void got.push(message.toString()));
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  const { syslog } = senderTo(t, server.address().port, { transport: 'udp' });
  for (const line of ['first', 'second']) syslog.send(line);
  await until(() => got.length === 2, 'both came');
  assert.deepEqual(got, ['first', 'second']);
});

test('by UDP, too, what waits is bounded, and what comes after the end is counted', async (t) => {
  const server = createSocket('udp4');
  t.after(() => server.close());
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  const { syslog } = senderTo(t, server.address().port, { transport: 'udp', host: 'localhost' });
  for (let i = 0; i < 10_005; i++) syslog.send('a line');
  assert.equal(syslog.dropped, 5);
  await syslog.close();
  const atEnd = syslog.dropped;
  syslog.send('late');
  assert.equal(syslog.dropped, atEnd + 1);
});

test('over TCP: each with its length; a server that comes back gets what waited, in order', async (t) => {
  const first = createServer();
  const { port, got, sockets } = await serverOf(t, first);
  const { syslog, log } = senderTo(t, port);
  syslog.send('before Grüße');
  await until(() => got().length === 1, 'it came');
  first.close();
  for (const socket of sockets) socket.destroy();
  await log.seen('syslog.down');
  for (let i = 0; i < 50; i++) syslog.send(`waited ${i}`);
  const second = await serverOf(t, createServer(), port);
  await until(() => second.got().length === 50, 'all came');
  assert.deepEqual(
    second.got(),
    Array.from({ length: 50 }, (_, i) => `waited ${i}`),
  );
  assert.equal(syslog.dropped, 0);
  assert.deepEqual(got(), ['before Grüße']);
});

test('what waits is bounded: the rest is dropped and counted', async (t) => {
  const server = createServer();
  const { port } = await serverOf(t, server);
  server.close();
  const { syslog, log } = senderTo(t, port);
  await log.seen('syslog.down');
  for (let i = 0; i < 10_007; i++) syslog.send('x');
  assert.equal(syslog.dropped, 7);
  await syslog.close();
  assert.equal(syslog.dropped, 10_007);
});

test('over TLS: the certificate is checked; without an authority for it nothing is sent', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-test-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const { key, cert } = await makeCertificate(directory, 'syslog', ['127.0.0.1:6514']);
  const { port, got } = await serverOf(t, createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }));
  const good = senderTo(t, port, { transport: 'tls', caFile: cert });
  good.syslog.send('over TLS');
  await until(() => got().length === 1, 'it came');
  const bad = senderTo(t, port, { transport: 'tls' });
  bad.syslog.send('to a stranger');
  assert.match(String((await bad.log.seen('syslog.down'))['error']), /self-signed/);
  const unreadable = senderTo(t, port, { transport: 'tls', caFile: join(directory, 'no-such.pem') });
  assert.match(String((await unreadable.log.seen('syslog.down'))['error']), /ENOENT/);
  assert.deepEqual(got(), ['over TLS']);
});
