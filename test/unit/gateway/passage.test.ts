/**
 * Hosts that have refused our certificate: carried end to end and unread, refused with a reason, or intercepted as before;
 * by TCP as in a worker. That the server sees the host's own address is shown in the lab.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import type { Class } from '../../../src/policy/classes.ts';
import type { Attempt } from '../../../src/record/events.ts';
import { FakeRelay } from '../../fake/relay.ts';
import { type Certificate, makeCertificate } from '../../fake/certificate.ts';
import { type FakeUpstream, startFakeUpstream } from '../../fake/upstream.ts';
import { Client, Gone } from '../../kit/client.ts';
import { startGateway, type TestGateway, testConfig } from '../../kit/gateway.ts';
import { testTls } from '../../kit/issuer.ts';
import { assertRecorded, type Told, told } from '../../kit/table.ts';
import { until } from '../../kit/wait.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-passage-'));
let certificate: Certificate;
before(() => {
  certificate = makeCertificate(directory, 'far', 'DNS:mx.example.org');
});
after(() => rmSync(directory, { recursive: true }));

const { tls } = testTls();
const PAIR = '198.51.100.10 203.0.113.25:25';
const MESSAGE = `From: a@example.org\r\n\r\n${'unread\r\n'.repeat(20)}`;

let server: FakeUpstream;
let gateway: TestGateway;
let port: number;
/** of all tests here, for the last */
const attempts: Attempt[] = [];
const refusals: Told[] = [];
afterEach(async () => {
  await gateway.close();
  await server.close();
  attempts.push(...gateway.ledger.attempts);
});

async function start(network = '', tables: Readonly<Record<string, string>> = {}): Promise<void> {
  server = await startFakeUpstream({ tls: certificate });
  gateway = await startGateway({
    config: await testConfig(['127.0.0.1:2'], { network, ...tables }),
    relay: new FakeRelay(),
    originalPort: server.port,
    tls,
  });
  gateway.ledger.verifying.add(PAIR);
  port = await gateway.listen();
}

/** A host that verifies: it has the server's certificate alone. */
async function secured(): Promise<Client> {
  const clear = await Client.connect(port);
  assert.match(await clear.reply(), /^220 /);
  await clear.ask('EHLO host.example.org');
  return await clear.startTls({ ca: certificate.cert, servername: 'mx.example.org', rejectUnauthorized: true });
}

async function send(host: Client, text = MESSAGE): Promise<string> {
  await host.ask('EHLO host.example.org');
  await host.ask('MAIL FROM:<a@example.org>');
  await host.ask('RCPT TO:<b@example.org>');
  await host.ask('DATA');
  return host.ask(`${text}.`);
}

async function refusedWith(): Promise<string> {
  const host = await Client.connect(port);
  return await lastWords(host);
}

/** A refusal, behind which the connection ends. */
async function lastWords(host: Client): Promise<string> {
  const said = await host.reply();
  refusals.push(...told([said]));
  await assert.rejects(host.reply(), Gone);
  return said;
}

async function recorded(of: Class): Promise<Attempt> {
  const [first] = await gateway.ledger.recorded(1);
  assert.ok(first);
  assert.equal(first.class, of);
  return first;
}

for (const egress of ['smarthost', 'preserve'] as const) {
  test(`egress "${egress}": the host is shown the server's own certificate, its message arrives unread, and is in the journal`, async () => {
    await start(`egress = "${egress}"\nlimit_opaque = ["10/minute"]`);
    const host = await secured();
    assert.match(await send(host), /^250 /);
    await host.ask('QUIT');
    await server.until(() => server.messages.length === 1);
    assert.equal(server.messages[0]?.body.toString('latin1'), MESSAGE);
    const row = await recorded('tls.opaque');
    assert.deepEqual(
      [row.verdict, row.sender, row.upstream, row.egress],
      ['accept', undefined, '203.0.113.25:25', egress],
    );
    assert.ok(row.sizeBytes > MESSAGE.length, `${row.sizeBytes}`);
    assert.deepEqual(gateway.ledger.calledFrom, [egress === 'preserve' ? '198.51.100.10' : undefined]);
    await until(() => gateway.gateway.open === 0 && gateway.rooms.counts.opaque === 0, 'all is closed');
    assert.deepEqual([...gateway.ledger.held.values()], [0, 0]);
    assert.equal(gateway.ledger.taken.get('opaque'), 1);
    assert.ok((gateway.ledger.taken.get('opaque-bytes') ?? 0) > row.sizeBytes);
  });
}

test('"refuse": 421 that says why and where to ask; "intercept", and another server: as ever', async () => {
  await start('verifying = "refuse"');
  assert.match(await refusedWith(), /^421 4\.7\.5 .* \[tls\.verifying id=\w+ https:\/\/help\.example\/\S+\]$/);
  await recorded('tls.verifying');
  gateway.ledger.verifying.clear();
  gateway.ledger.verifying.add('198.51.100.10 203.0.113.26:25');
  assert.match(await (await Client.connect(port)).reply(), /^220 gw1\.example\.net /);
  assert.deepEqual(gateway.ledger.calledFrom, []);
});

test('"intercept": met with our banner', async () => {
  await start('verifying = "intercept"');
  assert.match(await (await Client.connect(port)).reply(), /^220 gw1\.example\.net /);
});

test('mode "observe" refuses nothing of ours: the record says what would have been', async () => {
  await start('verifying = "refuse"\nmode = "observe"');
  const host = await Client.connect(port);
  assert.match(await host.reply(), /^220 gw1\.example\.net /);
  for (const line of ['EHLO host.example.org', 'MAIL FROM:<a@example.org>', 'RCPT TO:<b@example.org>', 'QUIT'])
    await host.ask(line);
  assert.equal((await gateway.ledger.recorded(1))[0]?.wouldBe, 'tls.verifying');
});

test('a message that begins in clear is cut off before the server has heard of it, and not carried', async () => {
  await start();
  const host = await Client.connect(port);
  await host.reply();
  await host.ask('EHLO host.example.org');
  host.write('NOOP\r\nmail FROM:<a@exam');
  assert.match(await host.reply(), /^250 /);
  host.write('ple.org>\r\n');
  assert.match(await lastWords(host), /^421 4\.7\.5 .* \[tls\.clear /);
  await recorded('tls.clear');
  await until(() => gateway.gateway.open === 0, 'it is closed');
  assert.ok(!server.commands.some(({ line }) => /^mail/i.test(line)));
});

for (const [unit, over] of [
  ['connections in a period', 'opaque'],
  ['octets', 'opaque-bytes'],
] as const) {
  test(`over the limit of ${unit}: 421, and nothing is carried`, async () => {
    await start();
    gateway.ledger.over.add(over);
    assert.match(await refusedWith(), /^421 4\.7\.0 .*; try again in 90 seconds \[limit\.opaque /);
    await recorded('limit.opaque');
    assert.deepEqual(gateway.ledger.calledFrom, []);
  });
}

test('as many at once as may be: 421; each counts as a connection besides', async () => {
  await start();
  const { ledger } = gateway;
  const admit = ledger.admit.bind(ledger);
  ledger.admit = async (source) => (source.endsWith(' opaque') ? 'over' : await admit(source));
  assert.match(await refusedWith(), / \[limit\.opaque /);
  await until(() => gateway.gateway.open === 0, 'it is closed');
  assert.deepEqual([...ledger.held], [['198.51.100.10', 0]]);
});

test('octets run out in the middle: cut off, not answered', async () => {
  await start();
  const host = await secured();
  await host.ask('EHLO host.example.org');
  await host.ask('MAIL FROM:<a@example.org>');
  await host.ask('RCPT TO:<b@example.org>');
  await host.ask('DATA');
  gateway.ledger.over.add('opaque-bytes');
  host.write('x'.repeat(78).concat('\r\n').repeat(2000));
  await assert.rejects(host.reply(), Gone);
  await recorded('limit.opaque');
  assert.equal(server.messages.length, 0);
});

test('a lock is told in place of the banner, and ends what is carried', async () => {
  await start();
  const host = await secured();
  await host.ask('EHLO host.example.org');
  const lock = {
    subject: '198.51.100.10/32',
    how: 'reject',
    reason: 'x',
    who: 'x',
    since: 0,
    until: undefined,
  } as const;
  gateway.ledger.locks = [lock];
  await assert.rejects(host.reply(), Gone);
  await recorded('locked.subscriber');
  assert.match(await refusedWith(), /^550 5\.7\.1 .* \[locked\.subscriber /);
});

const EXCUSED = `[[exception]]
classes = ["locked", "limit.opaque", "tls.verifying"]
sources = ["198.51.100.10"]
reason = "ticket 4711"
`;

test('an exception holds for what is carried unread: the lock, as many as may be, and the octets', async () => {
  await start('limit_opaque = ["1/day"]', { more: EXCUSED });
  const { ledger } = gateway;
  ledger.locks = [{ subject: '198.51.100.10/32', how: 'reject', reason: 'x', who: 'x', since: 0, until: undefined }];
  const admit = ledger.admit.bind(ledger);
  ledger.admit = async (source) => (source.endsWith(' opaque') ? 'over' : await admit(source));
  ledger.over.add('opaque').add('opaque-bytes');
  const host = await secured();
  assert.match(await send(host, `From: a@example.org\r\n\r\n${`${'y'.repeat(98)}\r\n`.repeat(2000)}`), /^250 /);
  await host.ask('QUIT');
  assert.equal((await recorded('tls.opaque')).wouldBe, undefined);
});

test('"refuse", with an exception: met with our banner', async () => {
  await start('verifying = "refuse"', { more: EXCUSED });
  assert.match(await (await Client.connect(port)).reply(), /^220 gw1\.example\.net /);
});

test('time: what lasts too long, and what is silent too long, is ended', async () => {
  for (const tables of [{ tls: 'opaque_timeout = "2s"' }, { limits: 'data_timeout = "2s"' }]) {
    await start('', tables);
    const host = await Client.connect(port);
    await host.reply();
    await assert.rejects(host.reply(), Gone);
    await recorded('limit.time');
    await gateway.close();
    await server.close();
  }
  await start();
});

test('no server: 421 upstream.down; a host that goes while it is called leaves nothing behind', async () => {
  await start();
  await server.close();
  assert.match(await refusedWith(), /^421 .* \[upstream\.down /);
  const socket = connectTcp(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.destroy();
  await until(() => gateway.gateway.open === 0 && gateway.rooms.counts.opaque === 0, 'all is closed');
});

test('20 MB go through, to the octet', async () => {
  await start('limit_opaque_bytes = ["1GiB/day"]');
  const host = await secured();
  const text = 'From: a@example.org\r\n\r\n'.concat(`${'y'.repeat(98)}\r\n`.repeat(200_000));
  assert.match(await send(host, text), /^250 /);
  assert.equal(server.messages[0]?.sizeBytes, text.length);
});

test('a worker that ends waits for what is carried, and then cuts it off', async () => {
  await start();
  const host = await secured();
  const drained = gateway.gateway.drain(200);
  assert.match(await host.ask('EHLO host.example.org'), /^250/);
  await drained;
  await assert.rejects(host.reply(), Gone);
  await recorded('session.shutdown');
});

test('Shows 1: the classes of hosts that verify: reply, journal row, metric equal to the table', async () => {
  await start();
  for (const name of ['tls.opaque', 'tls.verifying', 'tls.clear', 'limit.opaque'] satisfies Class[]) {
    assert.ok(
      attempts.some((attempt) => attempt.class === name),
      name,
    );
    if (name !== 'tls.opaque')
      assert.ok(
        refusals.some((refusal) => refusal.class === name),
        name,
      );
  }
  await assertRecorded(attempts, refusals);
});
