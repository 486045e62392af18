/**
 * What one host can make the gateway do or hold: many commands at once, endless lines, many recipients, dots, octets that
 * come alone. In this process, so that what is held can be looked at. Time is processor time: the machine is shared.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Message } from '../../src/filter/message.ts';
import { BodyReader } from '../../src/wire/body.ts';
import { SpoolBudget, SpooledBody } from '../../src/wire/spool.ts';
import { FakeRelay } from '../fake/relay.ts';
import { startFakeUpstream } from '../fake/upstream.ts';
import { hear } from '../fuzz/hear.ts';
import { startGateway, type TestGateway, testConfig } from '../kit/gateway.ts';
import { until } from '../kit/wait.ts';
import { within } from '../kit/pace.ts';

const ENVELOPE = 'EHLO a.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\n';
const SEGMENT = 64 * 1024;

/** Processor time of this process while `run` runs, in ms. */
async function cpuMs(run: () => unknown): Promise<number> {
  const begin = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(begin);
  return (user + system) / 1000;
}

describe('one host', () => {
  let relay: FakeRelay;
  let gateway: TestGateway;
  beforeEach(async () => {
    relay = new FakeRelay();
    const limits = 'message_size = "64KiB"';
    gateway = await startGateway({ config: await testConfig(['127.0.0.1:2'], { limits }), relay });
  });
  afterEach(() => gateway.close());

  /** A host with the gateway's own end of its connection. */
  function connectBoth(): { readonly host: Duplex; readonly ours: Duplex } {
    const [host, ours] = duplexPair();
    const ends = { source: '198.51.100.10', sourcePort: 1, destination: '203.0.113.25', destinationPort: 25 };
    gateway.gateway.accept(ours, ends);
    host.on('error', () => {});
    return { host, ours };
  }

  test('10,000 commands in one segment are answered in order, without holding up the others for long', async (t) => {
    const kinds = [
      ['NOOP', '250 2.0.0'],
      ['RSET', '250 2.0.0'],
      ['VRFY a', '252 2.5.2'],
      ['NOOP', '250 2.0.0'],
      ['HELP', '214 2.0.0'],
    ] as const;
    // A pattern of 7 over 5 kinds, so that a swapped or lost reply shows.
    const chosen = Array.from({ length: 10_000 }, (_, i) => kinds[(i % 7) % 5] as (typeof kinds)[number]);
    let bestMs = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 3; round++) {
      const host = gateway.connect();
      const heard = hear(host);
      await heard.until(/^220/);
      const usedMs = await cpuMs(async () => {
        host.write(`${chosen.map(([command]) => `${command}\r\n`).join('')}QUIT\r\n`);
        await heard.end();
      });
      host.end();
      bestMs = Math.min(bestMs, usedMs);
      const answers = heard.text().split('\r\n');
      assert.deepEqual(
        answers.slice(1, -2).map((line) => line.slice(0, 9)),
        chosen.map(([, answer]) => answer),
      );
      assert.match(answers.at(-2) ?? '', /^221 /);
    }
    // Nothing else is served meanwhile; the host's side and this test's are in it.
    t.diagnostic(`${bestMs.toFixed(0)} ms of processor time`);
    assert.ok(within(bestMs, 500), `${bestMs} ms`);
  });

  test('a command without an end is refused as soon as it is too long, not when it ends', async () => {
    const host = gateway.connect();
    const heard = hear(host);
    await heard.until(/^220/);
    host.write(Buffer.alloc(2046, 'x'));
    await new Promise((turn) => setImmediate(turn));
    assert.doesNotMatch(heard.text(), /^500/m);
    host.write('x');
    assert.match(await heard.end(), /^500 5\.5\.2 .*\[protocol\.line-length /m);
  });

  test('8 MB that come while an answer is due: about 64 KiB of them are read, the rest waits with the host', async () => {
    const { host, ours } = connectBoth();
    const heard = hear(host);
    host.write(`${ENVELOPE}RCPT TO:<later@b.example>\r\n`);
    await until(() => relay.waiting === 1, 'the recipient is asked about');
    const segments = 128;
    for (let i = 0; i < segments; i++) host.write(Buffer.alloc(SEGMENT, 'NOOP\r\n'));
    await until(() => ours.isPaused(), 'no more is read');
    for (let turns = 0; turns < 50; turns++) await new Promise((turn) => setImmediate(turn));
    const takenBytes = segments * SEGMENT - host.writableLength - ours.readableLength;
    assert.ok(takenBytes <= 3 * SEGMENT, `${takenBytes} octets were taken`);
    relay.answerLater();
    await heard.until(/2\.1\.5 fine\r\n250 2\.0\.0 OK/);
    host.destroy();
  });

  const BDATS = [
    'BDAT 100 LAST',
    'BDAT 0 LAST',
    'BDAT -1',
    'BDAT 18446744073709551616',
    'BDAT',
    'bdat 5',
    'BDAT x y z',
  ];
  for (const command of BDATS) {
    test(`${command} is answered, the connection closed, its payload not obeyed`, async () => {
      const host = gateway.connect();
      const heard = hear(host);
      host.write(
        `${ENVELOPE}${command}\r\nMAIL FROM:<evil@a.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n`,
      );
      const said = await heard.end();
      assert.match(said, /^250 2\.1\.5 fine\r\n503 5\.5\.1 .*\[protocol\.bdat id=[^\n]*\n$/m);
      const [attempt] = await gateway.ledger.recorded(1);
      assert.deepEqual([attempt?.sender, attempt?.class], ['<a@a.example>', 'protocol.bdat']);
      assert.equal(gateway.ledger.attempts.length, 1);
      assert.deepEqual(relay.messages, []);
    });
  }

  test('SIZE: refused at MAIL when it is declared, after the body when it is not; the session goes on', async () => {
    const host = gateway.connect();
    const heard = hear(host);
    host.write('EHLO a.example\r\nMAIL FROM:<a@a.example> SIZE=65537\r\n');
    await heard.until(/^250-SIZE 65536\r\n[\s\S]*^552 5\.3\.4 .*\[body\.size /m);
    for (const [bytes, answer] of [
      [64 * 1024, /250 2\.0\.0 taken\r\n$/],
      [64 * 1024 + 1, /552 5\.3\.4 .*\[body\.size id=.*\r\n$/],
    ] as const) {
      host.write('MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n');
      await heard.until(/^354 .*\r\n$/m);
      const header = 'From: a@a.example\r\n\r\n';
      const rest = bytes - header.length;
      host.write(`${header}${`${'x'.repeat(98)}\r\n`.repeat(rest / 100)}${'y'.repeat((rest % 100) - 2)}\r\n.\r\n`);
      await heard.until(answer);
    }
    host.write('QUIT\r\n');
    assert.match(await heard.end(), /221 2\.0\.0/);
    assert.equal(relay.messages.length, 1);
    assert.equal(gateway.rooms.budget.heldBytes, 0);
  });
});

describe('a whole list', () => {
  test('1,000 recipients stand, the next ones get 452, and the message goes to the 1,000', async () => {
    const fake = await startFakeUpstream();
    const gateway = await startGateway({ config: await testConfig([fake.endpoint]) });
    const host = gateway.connect();
    const heard = hear(host);
    const recipients = Array.from({ length: 1100 }, (_, i) => `<u${i}@b.example>`);
    host.write(
      `EHLO a.example\r\nMAIL FROM:<a@a.example>\r\n${recipients.map((to) => `RCPT TO:${to}\r\n`).join('')}DATA\r\n`,
    );
    await heard.until(/^354 /m);
    assert.equal(heard.text().match(/^250 2\.1\.5/gm)?.length, 1000);
    assert.equal(heard.text().match(/^452 4\.5\.3 .*limit\.recipients/gm)?.length, 100);
    host.end('From: a@a.example\r\n\r\nx\r\n.\r\nQUIT\r\n');
    assert.match(await heard.end(), /^250 2\.0\.0 taken.*\r\n221 /m);
    assert.deepEqual(fake.messages[0]?.recipients, recipients.slice(0, 1000));
    await gateway.close();
    await fake.close();
  });
});

describe('a body', () => {
  let dir: string;
  let collect: () => void;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'postern-bounds-'));
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const reader = (): BodyReader =>
    new BodyReader(new SpooledBody(new SpoolBudget(1 << 28), 256 * 1024, dir), {
      maxLineBytes: 1 << 24,
      maxSizeBytes: 1 << 28,
    });
  test('a line of 5 MB takes no more memory than any message', async () => {
    const body = reader();
    const segment = Buffer.alloc(SEGMENT, 'x');
    const held = async (): Promise<number> => {
      // What is collected is given back by the side; so is what the second call finds.
      for (let i = 0; i < 2; i++) {
        collect();
        await new Promise((turn) => setImmediate(turn));
      }
      return process.memoryUsage().arrayBuffers;
    };
    const before = await held();
    let peak = 0;
    for (let i = 0; i < 80; i++) {
      // A copy each, as from a socket.
      assert.equal(body.push(Buffer.from(segment), 0), -1);
      if (i % 8 === 7) peak = Math.max(peak, (await held()) - before);
    }
    assert.ok(body.push(Buffer.from('\r\n.\r\n'), 0) > 0);
    assert.equal(body.fault, undefined);
    assert.equal(body.spool.sizeBytes, 80 * SEGMENT + 2);
    // 256 KiB are kept in memory of any body.
    assert.ok(peak <= (256 + 64) * 1024, `${peak} octets`);
    body.spool.release();
  });

  test('256 KiB in single octets take little more, and are looked at as quickly', async (t) => {
    const header = `From: a@a.example\r\n${`X: ${'y'.repeat(60)}\r\n`.repeat(3950)}\r\n`;
    let moreBytes = 0;
    let usedMs = 0;
    // The first round is for what is compiled and set up once.
    for (let round = 0; round < 2; round++) {
      const body = reader();
      collect();
      const before = process.memoryUsage();
      usedMs = await cpuMs(() => {
        for (let i = 0; i < header.length; i++) body.push(Buffer.from([header.charCodeAt(i)]), 0);
      });
      collect();
      const now = process.memoryUsage();
      moreBytes = now.heapUsed + now.arrayBuffers - before.heapUsed - before.arrayBuffers;
      assert.equal(body.spool.sizeBytes, header.length);
      usedMs += await cpuMs(() => assert.equal(new Message(body.spool).fields().length, 3951));
      body.spool.release();
    }
    t.diagnostic(`${(moreBytes / 1024).toFixed(0)} KiB held, read and looked at in ${usedMs.toFixed(0)} ms`);
    assert.ok(moreBytes <= 512 * 1024, `${moreBytes} octets`);
    // Quadratic joining takes minutes.
    assert.ok(within(usedMs, 5000), `${usedMs} ms`);
  });

  test('20 MB of lines that begin with a dot', async (t) => {
    const body = reader();
    const segment = Buffer.from('..\r\n'.repeat(SEGMENT / 4));
    const usedMs = await cpuMs(() => {
      for (let i = 0; i < 320; i++) body.push(Buffer.from(segment), 0);
      assert.ok(body.push(Buffer.from('.\r\n'), 0) > 0);
    });
    assert.equal(body.fault, undefined);
    assert.equal(body.spool.sizeBytes, 320 * SEGMENT);
    t.diagnostic(`${usedMs.toFixed(0)} ms of processor time`);
    // An SMTP library that undoes each dot by itself takes 7 s. On an idle machine it is half a second here.
    assert.ok(within(usedMs, 1000), `${usedMs} ms`);
    body.spool.release();
  });
});
