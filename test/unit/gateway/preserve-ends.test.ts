/** Egress "preserve": whenever host or server goes, nothing is left behind, and the record tells what happened. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { after, afterEach, describe, test } from 'node:test';
import type { AnyFilter, Stage as FilterStage } from '../../../src/filter/filter.ts';
import type { ByteSocket } from '../../../src/kit/tcp.ts';
import { connectTcp } from '../../../src/kit/tcp-open.ts';
import type { Config } from '../../../src/config/schema.ts';
import { createPreserved, PreservedSession } from '../../../src/relay/preserve.ts';
import { noCounts } from '../../../src/relay/smarthost.ts';
import { makeCertificate } from '../../fake/certificate.ts';
import { FakeRelay } from '../../fake/relay.ts';
import { type FakeOptions, type FakeUpstream, startFakeUpstream } from '../../fake/upstream.ts';
import { type Heard, hear } from '../../fuzz/hear.ts';
import { startGateway, type TestGateway, testConfig } from '../../kit/gateway.ts';
import { testTls } from '../../kit/issuer.ts';
import { until } from '../../kit/wait.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-ends-'));
after(() => rmSync(directory, { recursive: true }));

const { tls } = testTls();
const certificate = makeCertificate(directory, 'mx', 'DNS:mx.example.net');

let gateway: TestGateway;
let server: FakeUpstream | undefined;
afterEach(async () => {
  await gateway.close();
  await server?.close();
  server = undefined;
});

async function start(port: number, filters?: readonly AnyFilter[]): Promise<void> {
  gateway = await startGateway({
    config: await testConfig(['127.0.0.1:2'], { network: 'egress = "preserve"' }),
    relay: new FakeRelay(),
    originalPort: port,
    tls,
    ...(filters && { filters }),
  });
}

async function startFake(fake: FakeOptions = {}, filters?: readonly AnyFilter[]): Promise<FakeUpstream> {
  server = await startFakeUpstream(fake);
  await start(server.port, filters);
  return server;
}

function connect(): { readonly socket: Duplex; readonly heard: Heard } {
  const socket = gateway.connect();
  return { socket, heard: hear(socket) };
}

const said = (): string[] => server?.commands.map(({ line }) => line) ?? [];
const nothingLeft = (): Promise<void> =>
  until(() => gateway.rooms.counts.preserved === 0 && (server?.open ?? 0) === 0, 'the end of the connection');

/** A filter whose look waits for the test. */
function gate<S extends FilterStage>(stage: S): { filter: AnyFilter; reached: Promise<void>; open: () => void } {
  const reached = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  const filter = {
    name: 'gate',
    stage,
    look: async () => {
      reached.resolve();
      await opened.promise;
      return [];
    },
    actionOf: () => 'accept',
    failure: 'accept',
  } as unknown as AnyFilter;
  return { filter, reached: reached.promise, open: opened.resolve };
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

const ENVELOPE = 'EHLO host.example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n';
const BODY = 'From: a@example.org\r\nDate: Wed, 25 Nov 2026 09:00:00 +0000\r\n\r\ntext\r\n.\r\n';

describe('the TLS handshake with the server', () => {
  test('one that fails leaves nothing', async () => {
    await startFake({
      tls: { ...certificate, minVersion: 'TLSv1', maxVersion: 'TLSv1.1' } as FakeOptions['tls'] & object,
    });
    const { socket, heard } = connect();
    await heard.until(/^220 /);
    socket.write('EHLO host.example.org\r\n');
    assert.match(await heard.end(), /\r\n421 4\.7\.5 .*upstream\.tls/);
    socket.destroy();
    await nothingLeft();
  });

  test('the host goes while it is under way: nothing is left', async () => {
    const sockets = new Set<Socket>();
    const answers = [/^EHLO .*\r\n/, '250-mx.example.net\r\n250 STARTTLS\r\n', /^STARTTLS\r\n/, '220 go ahead\r\n'];
    const silent: Server = createServer((socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket)).on('error', () => {});
      socket.write('220 mx.example.net ESMTP\r\n');
      socket.on('data', (chunk) => {
        if ((answers[0] as RegExp | undefined)?.test(chunk.toString('latin1'))) {
          answers.shift();
          socket.write(answers.shift() as string);
        }
      });
    }).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    await start((silent.address() as { port: number }).port);
    const { socket, heard } = connect();
    await heard.until(/^220 /);
    socket.write('EHLO host.example.org\r\n');
    await until(() => answers.length === 0, 'the 220');
    await turn();
    socket.destroy();
    await until(() => gateway.rooms.counts.preserved === 0 && sockets.size === 0, 'the end of the connection');
    silent.close();
  });
});

describe('when the host goes', () => {
  test('before its server was called: it is not called any more', async () => {
    const { filter, reached, open } = gate('connect');
    const fake = await startFake({}, [filter]);
    const { socket } = connect();
    await reached;
    socket.destroy();
    await until(() => gateway.gateway.open === 0, 'the end of the session');
    open();
    await turn();
    assert.equal(gateway.rooms.counts.preserved, 0);
    assert.equal(fake.total, 0);
  });

  test('in the turn in which the connection stands: it is closed', async () => {
    const fake = await startFake();
    const connected = Promise.withResolvers<ByteSocket>();
    const socket = await connectTcp('127.0.0.1', fake.port, new AbortController().signal);
    const session = new PreservedSession(
      { address: '127.0.0.1', port: fake.port },
      {
        connect: () => connected.promise,
        ...{ connectMs: 1000, replyMs: 1000, sendMs: 1000, finalMs: 1000, maxSizeBytes: 1000, counters: noCounts() },
        ...{ name: undefined, ca: undefined, hadTls: false },
      },
    );
    const opened = session.open();
    connected.resolve(socket);
    await session.close();
    assert.equal((await opened).kind, 'failure');
    assert.equal(socket.destroyed, true);
  });

  test('while its message is judged: nothing is sent, and the record says that it has gone', async () => {
    const { filter, reached, open } = gate('body');
    await startFake({}, [filter]);
    const { socket, heard } = connect();
    await heard.until(/^220 /);
    socket.write(`${ENVELOPE}DATA\r\n`);
    await heard.until(/\r\n354 /);
    socket.write(BODY);
    await reached;
    socket.destroy();
    await until(() => gateway.gateway.open === 0, 'the end of the session');
    open();
    const [attempt] = await gateway.ledger.recorded(1);
    assert.equal(attempt?.class, 'session.gone');
    await nothingLeft();
    assert.equal(said().includes('DATA'), false);
    assert.equal(gateway.ledger.attempts.length, 1);
  });
});

describe('when the server goes', () => {
  test('at QUIT, without a word: the host hears 221, and no fault is counted', async () => {
    await startFake({ misbehave: ({ stage }) => (stage === 'quit' ? 'fin' : undefined) });
    const { socket, heard } = connect();
    await heard.until(/^220 /);
    socket.end('QUIT\r\n');
    assert.match(await heard.end(), /\r\n221 2\.0\.0 Closing\r\n$/);
    await nothingLeft();
  });

  test('after its 221 is no fault', async () => {
    const fake = await startFake();
    const counters = noCounts();
    const session = new PreservedSession(
      { address: '127.0.0.1', port: fake.port },
      {
        connect: (signal) => connectTcp('127.0.0.1', fake.port, signal),
        ...{ connectMs: 1000, replyMs: 1000, sendMs: 1000, finalMs: 1000, maxSizeBytes: 1000, counters },
        ...{ name: undefined, ca: undefined, hadTls: false },
      },
    );
    await session.open();
    await session.say('QUIT');
    await until(() => fake.open === 0, 'its end');
    await turn();
    await session.close();
    assert.equal(counters.faults, 0);
  });

  for (const [how, lines] of [
    ['with MAIL refused', 'EHLO host.example.org\r\nMAIL FROM:<bad@example.org>\r\n'],
    ['lost at RCPT', ENVELOPE.replace('b@', 'rst@')],
  ] as const) {
    test(`${how}: the record names the server and what it said`, async () => {
      await startFake({
        misbehave: ({ line }) =>
          line.includes('<bad@') ? { reply: '550 5.7.1 not you' } : line.includes('<rst@') ? 'rst' : undefined,
      });
      const { socket, heard } = connect();
      await heard.until(/^220 /);
      socket.write(lines);
      await heard.until(/\r\n(550|421) .*\r\n$/);
      const [attempt] = await gateway.ledger.recorded(1);
      assert.equal(attempt?.upstream, '203.0.113.25:25');
      assert.match(attempt.upstreamReply ?? '', /not you|ECONNRESET|closed/);
      assert.equal(gateway.ledger.attempts.length, 1);
    });
  }
});

describe('a host that does not read', () => {
  test('long replies of its server stay with the server, and come when it reads on', async () => {
    const recipients = 199;
    const reply = Buffer.from(`${`250-${'x'.repeat(500)}\r\n`.repeat(99)}250 end\r\n`);
    const [ours, far] = duplexPair();
    await start(0);
    Object.assign(gateway.rooms, {
      farSession: (_: unknown, config: Config) =>
        createPreserved(
          '198.51.100.10',
          { address: '203.0.113.25', port: 25 },
          config,
          noCounts(),
          undefined,
          async () => ours,
        ),
    });
    far.write('220 mx.example.net\r\n');
    const asked: string[] = [];
    far.on('data', (chunk: Buffer) => asked.push(...chunk.toString('latin1').split('\r\n').slice(0, -1)));
    let sent = 0;
    const say = async (): Promise<void> => {
      for (; sent < recipients; await turn()) {
        const line = asked.shift();
        if (line?.startsWith('RCPT')) sent++;
        if (line) far.write(line.startsWith('RCPT') ? reply : `250-mx.example.net\r\n250 PIPELINING\r\n`);
      }
    };
    const said = say();
    const { socket, heard } = connect();
    await heard.until(/^220 /);
    socket.write('EHLO host.example.org\r\n');
    await heard.until(/PIPELINING/);
    socket.pause();
    socket.write(`MAIL FROM:<a@example.org>\r\n${'RCPT TO:<b@example.net>\r\n'.repeat(recipients)}`);
    for (let turns = 0; turns < 1000; turns++) await turn();
    const taken = sent * reply.length - far.writableLength;
    assert.ok(sent > 90 && taken < 1024 * 1024, `${taken} octets of ${sent} replies taken`);
    socket.resume();
    await said;
    await until(() => heard.text().split('250 end').length - 1 === recipients, 'all replies');
    socket.destroy();
  });
});
