/**
 * STARTTLS with a host, by TCP as in a worker, and a smarthost with TLS, without it, or that changes: what is offered, what
 * goes on, what is refused, and what is recorded.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { connect as connectTls, TLSSocket } from 'node:tls';
import type { Attempt } from '../../../src/record/events.ts';
import { type Certificate, makeCertificate } from '../../fake/certificate.ts';
import { type FakeUpstream, startFakeUpstream } from '../../fake/upstream.ts';
import { Client, codeOf } from '../../kit/client.ts';
import { startGateway, type TestGateway, testConfig } from '../../kit/gateway.ts';
import { testTls } from '../../kit/issuer.ts';
import { assertRecorded, type Told, told } from '../../kit/table.ts';
import { until } from '../../kit/wait.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-starttls-'));
let certificate: Certificate;
before(() => {
  certificate = makeCertificate(directory, 'far', 'IP:127.0.0.1');
});
after(() => rmSync(directory, { recursive: true }));

const { tls, other: otherTls, ca } = testTls();
const BODY = 'From: a@a.example\r\nDate: Wed, 25 Nov 2026 09:00:00 +0000\r\n\r\nmarker\r\n.\r\n';

let fake: FakeUpstream;
let gateway: TestGateway;
let port: number;
/** of all tests here, for the last */
const attempts: Attempt[] = [];
const refusals: Told[] = [];
afterEach(async () => {
  await gateway.close();
  await fake.close();
  attempts.push(...gateway.ledger.attempts);
});

type Far = {
  readonly offersTls: boolean;
  readonly smarthost?: string;
  readonly tls?: string;
  readonly limits?: string;
};

async function start({
  offersTls,
  smarthost = 'tls = "opportunistic"',
  tls: table = '',
  limits = '',
}: Far): Promise<void> {
  fake = await startFakeUpstream(offersTls ? { tls: certificate } : {});
  const config = await testConfig([fake.endpoint], { smarthost, tls: table, limits });
  gateway = await startGateway({ config, tls });
  port = await gateway.listen();
}

async function host(): Promise<{ client: Client; ehlo: string }> {
  const client = await Client.connect(port);
  await client.reply();
  return { client, ehlo: await client.ask('EHLO a.example') };
}

/** The replies to MAIL, RCPT, DATA and the message, as far as it gets. */
async function send(client: Client): Promise<string[]> {
  const said: string[] = [];
  for (const line of ['MAIL FROM:<a@a.example>', 'RCPT TO:<b@b.example>', 'DATA', BODY]) {
    if (line === BODY) client.write(BODY);
    const reply = line === BODY ? await client.reply() : await client.ask(line);
    said.push(reply);
    refusals.push(...told([reply]));
    if (codeOf(reply) >= 400) break;
  }
  return said;
}

const last = async (count: number): Promise<Attempt> => (await gateway.ledger.recorded(count)).at(-1) as Attempt;

describe('offered', () => {
  for (const [what, far, isOffered] of [
    ['where the far side has TLS, verified', { offersTls: true, smarthost: `tls = "verify"\nca_file = "%"` }, true],
    ['where the far side has TLS, opportunistic', { offersTls: true }, true],
    ['not where the far side has none', { offersTls: false }, false],
    ['not where the configuration says that none is used', { offersTls: true, smarthost: 'tls = "none"' }, false],
    ['over a trusted link', { offersTls: false, smarthost: 'tls = "none"\ntrusted_link = true' }, true],
  ] as const) {
    test(`STARTTLS, ${what}`, async () => {
      const smarthost = 'smarthost' in far ? far.smarthost.replace('%', certificate.certPath) : undefined;
      await start({ offersTls: far.offersTls, ...(smarthost !== undefined && { smarthost }) });
      const { client, ehlo } = await host();
      assert.equal(/^250[ -]STARTTLS$/m.test(ehlo), isOffered, ehlo);
      if (!isOffered) assert.match(await client.ask('STARTTLS'), /^502 5\.5\.1 .*protocol\.not-offered/);
      client.close();
    });
  }

  test('a worker without a certificate lets nobody in rather than offer less', async () => {
    await start({ offersTls: true });
    const config = await testConfig([fake.endpoint], { smarthost: 'tls = "opportunistic"' });
    const bare = await startGateway({ config });
    const client = await Client.connect(await bare.listen());
    assert.match(await client.reply(), /^421 4\.3\.0 .*error\.certificate/);
    client.close();
    await bare.close();
  });
});

describe('a host with TLS', () => {
  test('its message goes on over TLS; the record and the Received line say so', async () => {
    await start({ offersTls: true });
    const { client } = await host();
    const secure = await client.startTls({ servername: 'mx.example.net', ca, rejectUnauthorized: true });
    assert.match(await secure.ask('MAIL FROM:<a@a.example>'), /^503 /, 'EHLO in clear is forgotten');
    const ehlo = await secure.ask('EHLO b.example');
    assert.doesNotMatch(ehlo, /STARTTLS/);
    assert.match(await secure.ask('STARTTLS'), /^503 /);
    assert.deepEqual((await send(secure)).map(codeOf), [250, 250, 354, 250]);
    const attempt = await last(1);
    assert.match(attempt.tls?.version ?? '', /^TLSv1\.3$/);
    assert.match(attempt.tls?.cipher ?? '', /^TLS_/);
    assert.equal(attempt.tls?.name, 'mx.example.net');
    assert.equal(attempt.upstreamTls, 'TLSv1.3');
    assert.equal(attempt.helo, 'b.example');
    assert.match(fake.messages[0]?.body.toString('latin1') ?? '', /^Received: .*\r\n\tby .* with ESMTPS id /);
    assert.deepEqual(gateway.rooms.counts.takeHandshakes(), { done: 1 });
    secure.close();
  });

  test('a transaction that was begun in clear is not there any more', async () => {
    await start({ offersTls: true });
    const { client } = await host();
    assert.match(await client.ask('MAIL FROM:<a@a.example>'), /^250 /);
    assert.match(await client.ask('RCPT TO:<b@b.example>'), /^250 /);
    const secure = await client.startTls();
    await secure.ask('EHLO a.example');
    assert.match(await secure.ask('RCPT TO:<b@b.example>'), /^503 /);
    assert.match(await secure.ask('DATA'), /^503 /);
    secure.close();
    await until(() => fake.commands.some(({ line }) => line === 'RSET'), 'the far side has let go of it');
  });

  test('a far side that stops offering STARTTLS gets nothing in clear: 451 4.7.5, and nobody else does better', async () => {
    await start({ offersTls: true });
    const { client } = await host();
    const secure = await client.startTls();
    await secure.ask('EHLO a.example');
    Object.assign(fake.options, { tls: undefined });
    fake.reset();
    const [mail, rcpt] = await send(secure);
    assert.equal(codeOf(mail ?? ''), 250);
    assert.match(rcpt ?? '', /^451 4\.7\.5 .*upstream\.tls/);
    assert.equal(fake.messages.length, 0);
    const other = await host();
    assert.match((await send(other.client)).at(-1) ?? '', /^451 4\.7\.5 /, 'not in clear either');
    assert.ok(!fake.commands.some(({ connection, line }) => connection > 1 && line.startsWith('MAIL')));
    secure.close();
    other.client.close();
  });

  test('a server without TLS that comes up later takes nothing that came encrypted: 451 4.7.4', async () => {
    const clear = await startFakeUpstream();
    const clearPort = clear.port;
    await clear.close();
    fake = await startFakeUpstream({ tls: certificate });
    const servers = [fake.endpoint, `127.0.0.1:${clearPort}`];
    gateway = await startGateway({ config: await testConfig(servers, { smarthost: 'tls = "opportunistic"' }), tls });
    port = await gateway.listen();
    const secure = await (await host()).client.startTls();
    await secure.ask('EHLO a.example');
    await clear.listen(clearPort);
    await until(() => gateway.rooms.relay.servers().every(({ up }) => up), 'both are up');
    assert.doesNotMatch((await host()).ehlo, /STARTTLS/, 'who comes now may be given to either');
    await fake.close();
    // The first finds the connections dead that were kept.
    for (const answer of [/^451 /, /^451 4\.7\.4 .*\[upstream\.clear id=/]) {
      assert.match((await send(secure)).at(-1) ?? '', answer);
      await secure.ask('RSET');
    }
    assert.equal((await last(2)).class, 'upstream.clear');
    assert.ok(!clear.commands.some(({ line }) => line.startsWith('MAIL')));
    secure.close();
    await clear.close();
  });

  test('over a trusted link it goes on in clear, and the record says that this was so', async () => {
    await start({ offersTls: false, smarthost: 'tls = "none"\ntrusted_link = true' });
    const secure = await (await host()).client.startTls();
    await secure.ask('EHLO a.example');
    assert.deepEqual((await send(secure)).map(codeOf), [250, 250, 354, 250]);
    assert.equal((await last(1)).upstreamTls, 'trusted');
    secure.close();
  });

  test('by a stream as by TCP', async () => {
    await start({ offersTls: true });
    const stream = gateway.connect();
    const said: Buffer[] = [];
    const next = async (): Promise<void> => void said.push((await once(stream, 'data'))[0] as Buffer);
    await next();
    stream.write('EHLO a.example\r\n');
    await next();
    stream.write('STARTTLS\r\n');
    await next();
    assert.match(said.at(-1)?.toString() ?? '', /^220 /);
    stream.removeAllListeners('data');
    const secure = connectTls({ socket: stream, rejectUnauthorized: false });
    await once(secure, 'secureConnect');
    secure.write('EHLO a.example\r\n');
    assert.match(String((await once(secure, 'data'))[0]), /^250-gw1/);
    secure.destroy();
  });
});

test('a host in clear goes on over TLS all the same', async () => {
  await start({ offersTls: true });
  const { client } = await host();
  assert.deepEqual((await send(client)).map(codeOf), [250, 250, 354, 250]);
  const attempt = await last(1);
  assert.deepEqual([attempt.tls, attempt.upstreamTls], [undefined, 'TLSv1.3']);
  assert.match(fake.messages[0]?.body.toString('latin1') ?? '', / with ESMTP id /);
  client.close();
});

describe('a host that has seen the certificate and goes', () => {
  for (const [what, inside, recorded] of [
    ['QUIT as the first word', ['QUIT'], 'quit'],
    ['EHLO, then QUIT: a probe', ['EHLO probe.example', 'QUIT'], undefined],
    ['EHLO, then a close', ['EHLO probe.example'], undefined],
    ['RCPT out of turn, then QUIT', ['RCPT TO:<b@b.example>', 'QUIT'], 'refused'],
  ] as const) {
    test(what, async () => {
      await start({ offersTls: true });
      const secure = await (await host()).client.startTls();
      for (const line of inside) await secure.ask(line);
      secure.close();
      await until(() => gateway.gateway.open === 0, 'it is gone');
      const { attempts } = gateway.ledger;
      const of = attempts.map((attempt) => [attempt.class, attempt.reply]);
      const expected = {
        quit: [['tls.client-refused', 'quit']],
        refused: [['protocol.sequence', '']],
        none: [],
      }[recorded ?? 'none'];
      assert.deepEqual(of, expected);
      const unused = recorded === 'quit' ? { unused: 1 } : {};
      assert.deepEqual(gateway.rooms.counts.takeHandshakes(), { done: 1, ...unused });
    });
  }

  test('a close without a word, in the handshake or right after it', async () => {
    await start({ offersTls: true });
    const secure = await (await host()).client.startTls();
    (secure.socket as TLSSocket).end();
    const [attempt] = await gateway.ledger.recorded(1);
    assert.deepEqual([attempt?.class, attempt?.reply], ['tls.client-refused', 'closed']);
    // A client of TLS 1.3 that closes before its last message is out.
    const { client } = await host();
    await client.ask('STARTTLS');
    const early = connectTls({
      socket: client.socket,
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    early.on('error', () => {});
    early.once('secureConnect', () => early.destroy());
    const left = (await gateway.ledger.recorded(2))[1];
    assert.equal(left?.class, 'tls.client-refused');
    assert.match(left.reply, /^(left|closed)$/);
    secure.close();
  });

  test('a drain is no such going', async () => {
    await start({ offersTls: true });
    const secure = await (await host()).client.startTls();
    // It has said a word, so the handshake is done on both sides.
    await secure.ask('NOOP');
    await gateway.gateway.drain(0);
    assert.match(await secure.reply(), /^421 4\.3\.2 /);
    assert.deepEqual(
      gateway.ledger.attempts.map((attempt) => attempt.class),
      ['session.shutdown'],
    );
    secure.close();
  });
});

describe('resumed', () => {
  test('a session begun with one worker goes on with another', async () => {
    await start({ offersTls: true });
    const session = Promise.withResolvers<Buffer>();
    const first = await (await host()).client.startTls({ servername: 'mx.example.net' });
    (first.socket as TLSSocket).on('session', session.resolve);
    await first.ask('EHLO a.example');
    const ticket = await session.promise;
    first.close();
    const config = await testConfig([fake.endpoint], { smarthost: 'tls = "opportunistic"' });
    const other = await startGateway({ config, tls: otherTls });
    port = await other.listen();
    const second = await (await host()).client.startTls({ servername: 'mx.example.net', session: ticket });
    assert.equal((second.socket as TLSSocket).isSessionReused(), true);
    await second.ask('EHLO a.example');
    assert.deepEqual(other.rooms.counts.takeHandshakes(), { resumed: 1 });
    second.close();
    await other.close();
  });
});

describe('a handshake that fails ends the connection, and is recorded and counted', () => {
  /** Closed, or reset while the host still wrote. */
  const dead = ({ socket }: Client): Promise<void> =>
    new Promise((resolve) => {
      if (socket.closed) resolve();
      else socket.once('close', () => resolve());
    });

  for (const [what, cause, classOf, act] of [
    ['commands instead of TLS', 'not-tls', 'tls.handshake', (c: Client) => c.write('EHLO a.example\r\n')],
    ['garbage', 'not-tls', 'tls.handshake', (c: Client) => c.write(Buffer.alloc(3000, 0xa5))],
    [
      'a close in the middle',
      'closed',
      'tls.handshake',
      (c: Client) => void c.socket.end(Buffer.from('160301', 'hex')),
    ],
    ['a reset in the middle', 'closed', 'tls.handshake', (c: Client) => void c.socket.resetAndDestroy()],
    ['nothing at all', 'timeout', 'tls.handshake', () => {}],
    ['an octet now and then', 'timeout', 'tls.handshake', drip],
  ] as const) {
    test(what, { timeout: 120_000 }, async () => {
      await start({ offersTls: true, tls: 'handshake_timeout = "700ms"' });
      const { client } = await host();
      assert.match(await client.ask('STARTTLS'), /^220 /);
      const stop = act(client);
      await Promise.all([dead(client), gateway.ledger.recorded(1)]);
      if (typeof stop === 'function') stop();
      const attempt = await last(1);
      assert.deepEqual([attempt.class, attempt.reply, attempt.sender], [classOf, cause, undefined]);
      assert.deepEqual(gateway.rooms.counts.takeHandshakes(), { [cause]: 1 });
      await until(() => gateway.gateway.open === 0, 'it is gone');
      assert.deepEqual([...gateway.ledger.held.values()], [0], 'and no longer counted for its source');
    });
  }

  function drip(client: Client): () => void {
    client.write(Buffer.from('160301', 'hex'));
    const timer = setInterval(() => client.write(Buffer.of(1)), 50);
    return () => clearInterval(timer);
  }

  /** openssl s_client with STARTTLS; what it says, and what it is told line by line. */
  async function openssl(args: readonly string[], input: readonly string[] = []): Promise<string> {
    const child = spawn('openssl', ['s_client', '-starttls', 'smtp', '-connect', `127.0.0.1:${port}`, ...args]);
    let said = '';
    const add = (chunk: Buffer): void => void (said += chunk);
    child.stdout.on('data', add);
    child.stderr.on('data', add);
    child.stdin.on('error', () => {});
    for (const line of input) {
      await until(() => /^250 /m.test(said), said);
      child.stdin.write(line);
    }
    await once(child, 'close');
    return said;
  }

  test('an alert: the host does not accept the certificate', async () => {
    await start({ offersTls: true });
    for (const [n, version] of ['-tls1_2', '-tls1_3'].entries()) {
      await openssl([version, '-verify_return_error']);
      const attempt = await last(n + 1);
      assert.deepEqual([attempt.class, attempt.reply], ['tls.client-refused', 'certificate']);
    }
    assert.deepEqual(gateway.rooms.counts.takeHandshakes(), { certificate: 2 });
  });

  test('a version before 1.2', async () => {
    await start({ offersTls: true });
    await openssl(['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0']);
    assert.equal((await last(1)).reply, 'version');
  });

  test('openssl s_client with TLS 1.2 and 1.3 is served, verified; a renegotiation is the end', async () => {
    await start({ offersTls: true });
    const path = join(directory, 'ca.pem');
    writeFileSync(path, ca);
    for (const version of ['-tls1_2', '-tls1_3']) {
      const verify = ['-CAfile', path, '-verify_hostname', 'mx.example.net', '-servername', 'mx.example.net'];
      // A line that begins with Q is for s_client itself.
      const said = await openssl([version, '-crlf', ...verify], ['quit\n']);
      assert.match(said, /^Verification: OK\nVerified peername: mx\.example\.net$/m);
      assert.match(said, /^221 /m);
    }
    const said = await openssl(['-tls1_2'], ['R\n']);
    assert.match(said, /RENEGOTIATING/);
    assert.doesNotMatch(said, /^221 /m);
  });
});

test('commands that come together with STARTTLS are never run: 503, and the connection ends', async () => {
  await start({ offersTls: true });
  for (const behind of ['EHLO b.example\r\n', 'MAIL FROM:<a@a.example>\r\n', 'N', '\x16\x03\x01']) {
    const { client } = await host();
    client.write(`STARTTLS\r\n${behind}`);
    assert.match(await client.reply(), /^503 5\.5\.1 .*tls\.pipelined/);
    await client.reply().then(
      () => assert.fail('something was said behind it'),
      () => {},
    );
    client.close();
  }
});

test('a drain in the middle of a handshake waits for nobody', async () => {
  await start({ offersTls: true });
  const { client } = await host();
  await client.ask('STARTTLS');
  await until(() => gateway.gateway.open === 1, 'it is there');
  await gateway.gateway.drain(60_000);
  await once(client.socket, 'close');
  await until(() => gateway.gateway.open === 0, 'it is gone');
  assert.deepEqual(gateway.rooms.counts.takeHandshakes(), { stopped: 1 });
});

test('Shows 1: the classes of what TLS comes to: reply, journal row, metric equal to the table', async () => {
  await start({ offersTls: true });
  for (const name of ['tls.client-refused', 'tls.handshake'])
    assert.ok(
      attempts.some((attempt) => attempt.class === name),
      name,
    );
  for (const name of ['upstream.tls', 'upstream.clear'])
    assert.ok(
      refusals.some((refusal) => refusal.class === name),
      name,
    );
  await assertRecorded(attempts, refusals);
});
