/** A worker that is told to end: who is told 421, who gets an answer, who waits. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type FakeUpstream, startFakeUpstream } from '../../fake/upstream.ts';
import { far, FakeRelay } from '../../fake/relay.ts';
import { hear, type Heard } from '../../fuzz/hear.ts';
import { Client, Gone } from '../../kit/client.ts';
import { startGateway, type TestGateway, testConfig } from '../../kit/gateway.ts';
import { until } from '../../kit/wait.ts';
import { startWorker, type TestWorker } from '../../kit/worker.ts';

const ENVELOPE = 'EHLO a.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\n';
const BODY = 'From: a@a.example\r\nDate: x\r\n\r\nhello\r\n.\r\n';
const SHUTDOWN = /^421 4\.3\.2 .*\[session\.shutdown id=\w+ .*\]\r\n$/m;

describe('a gateway that drains', () => {
  let relay: FakeRelay;
  let gateway: TestGateway;
  const begin = async (): Promise<void> => {
    relay = new FakeRelay();
    gateway = await startGateway({ config: await testConfig(['127.0.0.1:2']), relay });
  };
  const connect = (says: string): { readonly host: ReturnType<TestGateway['connect']>; readonly heard: Heard } => {
    const host = gateway.connect();
    const heard = hear(host);
    host.write(says);
    return { host, heard };
  };

  test('idle sessions get 421 at once, and nobody waits for them', async () => {
    await begin();
    const idle = [connect(''), connect('EHLO a.example\r\n'), connect('EHLO a.example\r\nMAIL FROM:<>\r\nRSET\r\n')];
    for (const { heard } of idle) await heard.until(/^2.0/m);
    await gateway.gateway.drain(60_000);
    for (const { heard } of idle) assert.match(await heard.end(), SHUTDOWN);
    const late = connect('EHLO a.example\r\n');
    assert.match(await late.heard.end(), /^421 4\.3\.2 /);
    await gateway.close();
  });

  test('a session with a message under way goes on to its end, and no further', async () => {
    await begin();
    const { host, heard } = connect(ENVELOPE);
    await heard.until(/^250 2\.1\.5/m);
    const drained = gateway.gateway.drain(60_000);
    host.write('DATA\r\n');
    await heard.until(/^354/m);
    host.write(`${BODY}MAIL FROM:<c@a.example>\r\n`);
    assert.match(await heard.end(), /^250 2\.0\.0 taken\r\n421 4\.3\.2 .*session\.shutdown.*\r\n$/m);
    await drained;
    assert.equal(relay.messages.length, 1);
    await gateway.close();
  });

  test('when the time is over, 421 in the middle of a body', async () => {
    await begin();
    const { host, heard } = connect(`${ENVELOPE}DATA\r\n`);
    await heard.until(/^354/m);
    host.write('From: a@a.example\r\n');
    await gateway.gateway.drain(20);
    assert.match(await heard.end(), SHUTDOWN);
    assert.equal((await gateway.ledger.recorded(1))[0]?.class, 'session.shutdown');
    assert.equal(gateway.rooms.budget.heldBytes, 0);
    await gateway.close();
  });

  test('a message on its way to the far side gets the far side’s answer, also when the time is over', async () => {
    await begin();
    const { promise, resolve } = Promise.withResolvers<void>();
    let sent = false;
    relay.onMessage = () => {
      sent = true;
      return promise.then(() => far(250, '2.0.0 taken late'));
    };
    const { heard } = connect(`${ENVELOPE}DATA\r\n${BODY}`);
    await until(() => sent, 'the message is on its way');
    const drained = gateway.gateway.drain(20);
    setTimeout(resolve, 200);
    assert.match(await heard.end(), /^250 2\.0\.0 taken late\r\n421 4\.3\.2 /m);
    await drained;
    await gateway.close();
  });

  test('one whose answer does not come even then is cut off, and recorded once', async () => {
    await begin();
    const { promise, resolve } = Promise.withResolvers<void>();
    relay.onMessage = () => promise.then(() => far(250, '2.0.0 taken much later'));
    const { heard } = connect(`${ENVELOPE}DATA\r\n${BODY}`);
    await heard.until(/^354/m);
    await gateway.gateway.drain(20);
    assert.match(await heard.end(), /\n354 [^\n]*\n$/);
    const [attempt] = await gateway.ledger.recorded(1);
    assert.deepEqual([attempt?.verdict, attempt?.class, attempt?.recipients.length], ['defer', 'session.shutdown', 1]);
    resolve();
    await until(() => relay.messages.length === 1, 'the far side has it after all');
    await new Promise((turn) => setImmediate(turn));
    assert.equal(gateway.ledger.attempts.length, 1);
    await gateway.close();
  });
});

describe('a worker at SIGTERM', () => {
  let fake: FakeUpstream;
  let worker: TestWorker;
  before(async () => {
    fake = await startFakeUpstream();
    worker = await startWorker([fake.endpoint], {
      gateway: 'drain = "500ms"',
      smarthost: 'final_timeout = "5m"',
    });
  });
  after(async () => {
    await worker.close();
    await fake.close();
  });

  function terminate(): Promise<number | null> {
    const ended = worker.ended();
    process.kill(worker.pid, 'SIGTERM');
    return ended;
  }

  /** A host whose message the smarthost has read whole, and not answered. */
  async function undecided(): Promise<Client> {
    const seen = fake.commands.length;
    const host = await Client.connect(worker.port);
    await host.reply();
    for (const line of ENVELOPE.trimEnd().split('\r\n')) await host.ask(line);
    assert.match(await host.ask('DATA'), /^354/);
    host.write(BODY);
    await fake.until(() => fake.commands.slice(seen).some(({ line }) => line === 'DATA'));
    return host;
  }

  test('an idle host hears 421; one that comes meanwhile waits, and is served by the next worker', async () => {
    const idle = await Client.connect(worker.port);
    await idle.reply();
    const ended = terminate();
    assert.match(await idle.reply(), /^421 4\.3\.2 .*session\.shutdown/);
    const next = await Client.connect(worker.port);
    assert.equal(await ended, 0);
    assert.match(await next.reply(), /^220 /);
    assert.match(await next.ask('QUIT'), /^221/);
    assert.equal(worker.starts, 2);
  });

  test('a running message gets its 250', async () => {
    // The reply comes drop by drop, so that it is under way when the signal comes.
    fake.misbehave = ({ stage }) => (stage === 'dot' ? 'drip' : undefined);
    Object.assign(fake.options, { dripMs: 10 });
    await worker.ready();
    const host = await undecided();
    const ended = terminate();
    assert.match(await host.reply(), /^250 2\.0\.0 taken/);
    assert.match(await host.reply(), /^421 4\.3\.2 /);
    assert.equal(await ended, 0);
    fake.misbehave = undefined;
  });

  test('one that never gets an answer does not hold the worker, and is told nothing that is not so', async () => {
    fake.misbehave = ({ stage }) => (stage === 'dot' ? 'accept-hang' : undefined);
    await worker.ready();
    const host = await undecided();
    const begin = performance.now();
    assert.equal(await terminate(), 0);
    const tookMs = performance.now() - begin;
    await assert.rejects(host.reply(), Gone);
    // 500 ms to drain, 2 s for the last answers; the rest is the machine's.
    assert.ok(tookMs < 60_000, `${tookMs} ms`);
    fake.misbehave = undefined;
  });
});
