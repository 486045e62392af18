/** One connection: what a host hears and when it is cut off, whatever it does with its own side. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { type Duplex, duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import { far, FakeRelay } from '../../fake/relay.ts';
import { hear } from '../../fuzz/hear.ts';
import { type TestClock, testClock } from '../../kit/clock.ts';
import { startGateway, type TestGateway, testConfig } from '../../kit/gateway.ts';
import { until } from '../../kit/wait.ts';

const ENVELOPE = 'EHLO a.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\n';
const MESSAGE = 'From: a@a.example\r\nDate: x\r\n\r\nhello\r\n.\r\n';

let clock: TestClock;
let relay: FakeRelay;
let gateway: TestGateway;

const config = await testConfig(['127.0.0.1:2'], {
  limits:
    'command_timeout = "60s"\ndata_timeout = "5m"\nidle_timeout = "1h"\nwrite_timeout = "10s"\ndata_rate = "500B"\nbody_memory = "200B"',
});

async function start(descriptorLimit?: number): Promise<void> {
  mock.timers.enable({ apis: ['setInterval'] });
  clock = testClock();
  relay = new FakeRelay();
  gateway = await startGateway({ config, relay, clock, ...(descriptorLimit !== undefined && { descriptorLimit }) });
}

async function stop(): Promise<void> {
  await gateway.close();
  mock.timers.reset();
}

/** A host whose other end, the gateway's, can be looked at. */
function connectBoth(): { readonly host: Duplex; readonly ours: Duplex } {
  const [host, ours] = duplexPair();
  const ends = { source: '198.51.100.10', sourcePort: 1, destination: '203.0.113.25', destinationPort: 25 };
  gateway.gateway.accept(ours, ends);
  return { host, ours };
}

describe('a connection', () => {
  beforeEach(() => start());
  afterEach(async () => {
    assert.equal(gateway.rooms.budget.heldBytes, 0, 'every body was released');
    await stop();
  });

  test('FIN behind a recipient: its answer still comes', async () => {
    const host = gateway.connect();
    const heard = hear(host);
    host.end(`${ENVELOPE}RCPT TO:<later@b.example>\r\n`);
    await until(() => relay.waiting === 1, 'the recipient is asked about');
    relay.answerLater();
    assert.match(await heard.end(), /250 2\.1\.0 .*\r\n250 2\.1\.5 fine\r\n250 2\.1\.5 fine\r\n$/);
  });

  test('FIN behind a message: its answer still comes', async () => {
    const host = gateway.connect();
    const heard = hear(host);
    const { promise, resolve } = Promise.withResolvers<void>();
    relay.onMessage = () => promise.then(() => far(250, '2.0.0 taken'));
    host.end(`${ENVELOPE}DATA\r\n${MESSAGE}`);
    await heard.until(/^354 /m);
    resolve();
    assert.match(await heard.end(), /250 2\.0\.0 taken\r\n$/);
  });

  test('FIN while replies wait to be read: all of them come', async () => {
    const { host } = connectBoth();
    host.end(`${'HELP\r\n'.repeat(500)}NOOP\r\n`);
    // Not a byte is read until the gateway has done all it can.
    await until(() => gateway.rooms.counts.open === 1 && host.readableLength > 0, 'something to read');
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
    const said = await hear(host).end();
    assert.equal(said.match(/^214 /gm)?.length, 500);
    assert.match(said, /^250 2\.0\.0 OK\r\n$/m);
  });

  test('replies to what was read pile up to about 128 KiB, and no more commands are read', async () => {
    const { host, ours } = connectBoth();
    const commands = 'HELP\r\n'.repeat(100_000);
    host.write(commands);
    await until(() => ours.writableLength > 64 * 1024, 'replies that nobody reads');
    for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(ours.isPaused());
    let replies = 0;
    let peak = ours.writableLength;
    host.on('data', (chunk: Buffer) => {
      peak = Math.max(peak, ours.writableLength);
      for (let at = chunk.indexOf('214 '); at >= 0; at = chunk.indexOf('214 ', at + 4)) replies++;
    });
    await until(() => replies === 100_000, 'all are answered once they are read');
    assert.ok(peak <= 2 * 64 * 1024 + 1024, `${peak} octets waited`);
    host.destroy();
  });

  test('a host that reads nothing is cut off, and that is recorded', async () => {
    const { host, ours } = connectBoth();
    host.write('HELP\r\n'.repeat(20_000));
    await until(() => ours.writableLength > 64 * 1024, 'replies that nobody reads');
    clock.forward(9000);
    await sweep();
    assert.ok(!ours.destroyed);
    clock.forward(1500);
    await sweep();
    assert.ok(ours.destroyed);
    const [attempt] = await gateway.ledger.recorded(1);
    assert.equal(attempt?.class, 'limit.time');
    assert.equal(gateway.gateway.open, 0);
  });

  test('a command has its deadline from the one before, and octets do not put it off', async () => {
    const host = gateway.connect();
    const heard = hear(host);
    await heard.until(/^220/);
    for (const c of 'EHLO') {
      host.write(c);
      clock.forward(14_000);
      await sweep();
    }
    assert.equal(heard.text().match(/^421/m), null, '56 s');
    host.write(' ');
    clock.forward(5000);
    await sweep();
    assert.match(await heard.end(), /^421 4\.4\.2 .*\[limit\.time /m);
  });

  for (const [what, says] of [
    ['nothing begun', ''],
    ['a transaction that is only begun', 'EHLO a.example\r\nMAIL FROM:<a@a.example>\r\n'],
    ['an envelope that is never used', ENVELOPE],
  ] as const) {
    test(`commands that lead to nothing keep no session beyond idle_timeout: ${what}`, async () => {
      const host = gateway.connect();
      const heard = hear(host);
      host.write(`${says}HELP\r\n`);
      await heard.until(/^214 /m);
      for (let minutes = 0; minutes < 59.5; minutes += 0.5) {
        clock.forward(30_000);
        host.write('NOOP\r\n');
        await sweep();
      }
      assert.doesNotMatch(heard.text(), /^421/m);
      clock.forward(40_000);
      host.write('NOOP\r\n');
      await sweep();
      assert.match(await heard.end(), /^421 .*limit\.time/m);
    });
  }

  test('messages keep a session as long as they come', async () => {
    const host = gateway.connect();
    const heard = hear(host);
    host.write('EHLO a.example\r\n');
    for (let hours = 1; hours <= 4; hours++) {
      clock.forward(50 * 60_000);
      host.write(ENVELOPE.slice(ENVELOPE.indexOf('MAIL')));
      await heard.until(new RegExp(`(?:2\\.1\\.5 fine[^]*){${hours}}`));
      clock.forward(40_000);
      await sweep();
      host.write(`DATA\r\n${MESSAGE}`);
      await heard.until(new RegExp(`(?:2\\.0\\.0 taken[^]*){${hours}}`));
    }
    host.end('QUIT\r\n');
    assert.match(await heard.end(), /221 2\.0\.0 .*\r\n$/);
  });

  test('while an answer is due to the host, its time does not run', async () => {
    const host = gateway.connect();
    const heard = hear(host);
    host.write(`${ENVELOPE}RCPT TO:<later@b.example>\r\n`);
    await until(() => relay.waiting === 1, 'the recipient is asked about');
    clock.forward(120_000);
    await sweep();
    relay.answerLater();
    await heard.until(/fine\r\n250 2\.1\.5 fine\r\n$/);
    clock.forward(59_000);
    await sweep();
    assert.doesNotMatch(heard.text(), /^421/m);
    clock.forward(2000);
    await sweep();
    assert.match(await heard.end(), /^421 .*limit\.time/m);
  });

  test('a whole DATA has a deadline, and octets do not put it off', async () => {
    const host = gateway.connect();
    const heard = hear(host);
    host.write(`${ENVELOPE}DATA\r\n`);
    await heard.until(/^354/m);
    // Fast enough for data_rate.
    for (let minutes = 0; minutes < 5; minutes++) {
      assert.doesNotMatch(heard.text(), /^421/m);
      host.write('x'.repeat(498).concat('\r\n').repeat(100));
      clock.forward(60_000);
      await sweep();
    }
    assert.match(await heard.end(), /^421 4\.4\.2 .*\[limit\.time /m);
    assert.equal((await gateway.ledger.recorded(1))[0]?.class, 'limit.time');
  });

  test('a body slower than data_rate is cut off after 30 s', async () => {
    const host = gateway.connect();
    const heard = hear(host);
    host.write(`${ENVELOPE}DATA\r\n`);
    await heard.until(/^354/m);
    host.write('x'.repeat(100));
    clock.forward(29_000);
    await sweep();
    assert.doesNotMatch(heard.text(), /^421/m);
    clock.forward(2000);
    await sweep();
    assert.match(await heard.end(), /^421 .*limit\.time/m);
  });

  test('one that does not close after our last word is closed by us', async () => {
    const { host, ours } = connectBoth();
    host.resume();
    host.write('QUIT\r\n');
    await until(() => ours.writableEnded, 'the last word');
    // It goes on sending, which is read and dropped.
    host.write('NOOP\r\n'.repeat(10));
    clock.forward(1000);
    await sweep();
    assert.ok(!ours.destroyed);
    clock.forward(1500);
    await sweep();
    assert.ok(ours.destroyed);
  });

  test('nothing behind QUIT is run', async () => {
    const host = gateway.connect();
    const heard = hear(host);
    host.write(`EHLO a.example\r\nQUIT\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\n`);
    assert.match(await heard.end(), /221 2\.0\.0 .*\r\n$/);
    host.end();
    assert.equal(relay.open, 0);
    assert.deepEqual(gateway.ledger.attempts, []);
  });

  test('a host that has sent 10,000 commands has 100 of them run, and then it is the others’ turn', async () => {
    const [greedy, other] = [gateway.connect(), gateway.connect()];
    const [heard, otherHeard] = [hear(greedy), hear(other)];
    await Promise.all([heard.until(/^220/), otherHeard.until(/^220/)]);
    greedy.write(`${'NOOP\r\n'.repeat(10_000)}QUIT\r\n`);
    for (let asked = 1; asked <= 5; asked++) {
      other.write('VRFY a\r\n');
      await otherHeard.until(new RegExp(`(?:^252 .*\r\n){${asked}}`, 'm'));
      const done = heard.text().match(/^250 /gm)?.length ?? 0;
      assert.ok(done <= 200 * asked, `${done} commands were run before the other's number ${asked}`);
    }
    assert.match(await heard.end(), /^220 .*\r\n(?:250 .*\r\n){10000}221 /);
    greedy.end();
    other.destroy();
  });

  test('a host that sends a large body has two segments of it read, and then it is the others’ turn', async () => {
    const segment = Buffer.alloc(64 * 1024, `${'x'.repeat(62)}\r\n`);
    const [greedy, other] = [gateway.connect(), gateway.connect()];
    const [heard, otherHeard] = [hear(greedy), hear(other)];
    greedy.write(`${ENVELOPE}DATA\r\n`);
    await Promise.all([heard.until(/^354/m), otherHeard.until(/^220/)]);
    for (let i = 0; i < 100; i++) greedy.write(segment);
    for (let asked = 1; asked <= 5; asked++) {
      other.write('VRFY a\r\n');
      await otherHeard.until(new RegExp(`(?:^252 .*\r\n){${asked}}`, 'm'));
      const read = gateway.rooms.budget.heldBytes / segment.length;
      assert.ok(read <= 3 * asked, `${read} segments were read before the other's number ${asked}`);
    }
    greedy.destroy();
    other.destroy();
    await until(() => gateway.gateway.open === 0, 'both are gone');
  });

  for (const what of ['recipient', 'send'] as const) {
    test(`a fault in the relay (${what}) is a 451, and the session goes on`, async () => {
      const begin = relay.begin.bind(relay);
      relay.begin = (from) => ({
        ...begin(from),
        [what]: () => Promise.reject(new Error('as planned')),
      });
      const host = gateway.connect();
      const heard = hear(host);
      host.write(`${ENVELOPE}DATA\r\n`);
      if (what === 'send') {
        await heard.until(/^354/m);
        host.write(MESSAGE);
      }
      await heard.until(/^451 4\.3\.0 .*\[error\.internal id=/m);
      host.write('RSET\r\nQUIT\r\n');
      assert.match(await heard.end(), /250 2\.0\.0 Reset\r\n221 /);
      assert.equal((await gateway.ledger.recorded(1))[0]?.class, 'error.internal');
    });
  }
});

describe('under pressure', () => {
  // Of a limit of `share` percent more than what the process has open already, so that one connection more is pressure.
  const limitFor = (share: number): number => Math.floor(readdirSync('/proc/self/fd').length / share);
  afterEach(stop);

  test('deadlines are a fifth', async () => {
    await start(limitFor(0.7));
    const host = gateway.connect();
    const heard = hear(host);
    await heard.until(/^220/);
    clock.forward(11_000);
    await sweep();
    assert.doesNotMatch(heard.text(), /421/);
    clock.forward(2000);
    await sweep();
    assert.match(await heard.end(), /^421 .*limit\.time/m);
  });

  test('a connection is refused when the gateway is full, and does not linger', async () => {
    await start(limitFor(0.9));
    const { host, ours } = connectBoth();
    assert.match(await hear(host).end(), /^421 4\.3\.2 .*\[limit\.descriptors /);
    clock.forward(250);
    await sweep();
    assert.ok(ours.destroyed);
    assert.equal((await gateway.ledger.recorded(1))[0]?.class, 'limit.descriptors');
  });
});

/** The gateway looks at its deadlines, and what comes of it is done. */
async function sweep(): Promise<void> {
  mock.timers.tick(250);
  await new Promise((turn) => setImmediate(turn));
}
