/** Servers that read slowly, or not at all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { sendMsFor } from '../../../src/relay/smarthost.ts';
import { bodyOf, fakeFor, from, relayFor, said, to, TRACE } from './setup.ts';

const MIB = 1024 * 1024;
const LARGE = Buffer.alloc(16 * MIB, `${'x'.repeat(62)}\r\n`);

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** The most that was held in buffers, more than before, while `work` went on. */
async function growthOf(work: Promise<unknown>): Promise<number> {
  const held = (): number => {
    collectGarbage();
    return process.memoryUsage().arrayBuffers;
  };
  const before = held();
  let most = 0;
  const timer = setInterval(() => (most = Math.max(most, held() - before)), 50);
  await work;
  clearInterval(timer);
  return most;
}

test('servers that stop reading mid-body: memory stays bounded, and each is given up after reply_timeout', async (t) => {
  const fake = await fakeFor(t, { misbehave: ({ stage }) => (stage === 'body' ? 'hang' : undefined) });
  const { relay } = relayFor(t, [fake.endpoint], { replyTimeout: 2000 });
  const sending = 20;
  // Beyond 256 KiB each body is in a file.
  const bodies = Array.from({ length: sending }, () => bodyOf(LARGE, 256 * 1024));
  const transactions = await Promise.all(
    bodies.map(async () => {
      const transaction = relay.begin(from(), 'ID');
      await transaction.recipient(to('b'));
      return transaction;
    }),
  );
  const finals: string[] = [];
  const work = Promise.all(
    transactions.map(async (transaction, i) => {
      const body = bodies[i]!;
      finals.push(said(await transaction.send(TRACE, body)));
      body.release();
    }),
  );
  const growth = await growthOf(work);
  assert.deepEqual(new Set(finals), new Set(['upstream.timeout: took nothing for 2000 ms']));
  // Two pieces of the file (256 KiB each) for each, and what the fake had read: not the body.
  t.diagnostic(`${growth} bytes`);
  assert.ok(growth > 0 && growth < sending * 1.5 * MIB, `${growth} bytes for ${sending} bodies of ${LARGE.length}`);
  assert.equal(relay.counters().possibleDuplicates, 0);
  assert.equal(fake.messages.length, 0);
});

test('a server that reads slowly but steadily is waited for, longer than one reply may take', async (t) => {
  const fake = await fakeFor(t, { readBytesPerSecond: 4 * MIB });
  const { relay } = relayFor(t, [fake.endpoint], { replyTimeout: 1500, finalTimeout: 20_000 });
  const body = bodyOf(LARGE, 256 * 1024);
  const transaction = relay.begin(from(), 'ID');
  await transaction.recipient(to('b'));
  const began = performance.now();
  const final = await transaction.send(TRACE, body);
  assert.equal(said(final), '250 2.0.0 taken as 1');
  assert.ok(performance.now() - began > 1500);
  assert.equal(fake.messages[0]?.sizeBytes, TRACE.length + LARGE.length);
  body.release();
});

test('a message whose dot is not out in time is given up, and is no possible duplicate: slow reading', async (t) => {
  const fake = await fakeFor(t, { readBytesPerSecond: 4 * MIB });
  const { relay } = relayFor(t, [fake.endpoint], { sendMs: 1000, replyTimeout: 20_000, finalTimeout: 20_000 });
  const body = bodyOf(LARGE, 256 * 1024);
  const transaction = relay.begin(from(), 'ID');
  await transaction.recipient(to('b'));
  const began = performance.now();
  const final = await transaction.send(TRACE, body);
  const tookMs = performance.now() - began;
  assert.equal(said(final), 'upstream.timeout: not sent within 1000 ms');
  assert.ok(tookMs > 995 && tookMs < 15_000, `${tookMs}`);
  assert.equal(relay.counters().possibleDuplicates, 0);
  body.release();
  await relay.close();
  assert.equal(fake.messages.length, 0);
});

test('likewise the repeated envelope, whose replies come one by one, each in time; and no other server is tried', async (t) => {
  for (const capabilities of [['PIPELINING'], []]) {
    let isRepeated = false;
    const fake = await fakeFor(t, {
      capabilities,
      dripMs: 10,
      misbehave: ({ stage }) => (isRepeated && stage === 'rcpt' ? 'drip' : undefined),
    });
    const other = await fakeFor(t);
    const settings = { sendMs: 1000, replyTimeout: 5000, hold: 10 };
    const { relay } = relayFor(t, [fake.endpoint, other.endpoint], settings);
    const transaction = relay.begin(from(), 'ID');
    for (let i = 0; i < 10; i++) await transaction.recipient(to(`b${i}`));
    transaction.bodyBegins();
    await fake.until(() => fake.commands.some(({ line }) => line === 'RSET'));
    isRepeated = true;
    const began = performance.now();
    const final = await transaction.send(TRACE, bodyOf(Buffer.from('x\r\n')));
    const tookMs = performance.now() - began;
    assert.equal(said(final), 'upstream.timeout: not sent within 1000 ms');
    assert.ok(tookMs > 995 && tookMs < 15_000, `${tookMs}`);
    assert.equal(relay.counters().repeated, 1);
    assert.equal(relay.counters().possibleDuplicates, 0);
    assert.equal(other.messages.length, 0);
  }
});

test('before and after the dot together are less than the 10 minutes of a host, and no message is without time', () => {
  const minuteMs = 60_000;
  for (const finalMs of [100, 5 * minuteMs, 8 * minuteMs]) assert.ok(sendMsFor(finalMs) + finalMs <= 9 * minuteMs);
  assert.equal(sendMsFor(10 * minuteMs), minuteMs);
});

test('after the dot only final_timeout counts', async (t) => {
  const fake = await fakeFor(t, { dripMs: 60, misbehave: ({ stage }) => (stage === 'dot' ? 'drip' : undefined) });
  const { relay } = relayFor(t, [fake.endpoint], { sendMs: 500, finalTimeout: 20_000 });
  const transaction = relay.begin(from(), 'ID');
  await transaction.recipient(to('b'));
  const began = performance.now();
  assert.equal(said(await transaction.send(TRACE, bodyOf(Buffer.from('x\r\n')))), '250 2.0.0 taken as 1');
  assert.ok(performance.now() - began > 500);
});

test('the reply to the message has final_timeout, the others reply_timeout', async (t) => {
  const fake = await fakeFor(t);
  for (const [stage, atLeastMs, settings] of [
    ['data', 1000, { replyTimeout: 1000, finalTimeout: 60_000 }],
    ['dot', 1000, { replyTimeout: 60_000, finalTimeout: 1000 }],
  ] as const) {
    const { relay } = relayFor(t, [fake.endpoint], settings);
    fake.misbehave = (moment) => (moment.stage === stage ? 'hang' : undefined);
    const transaction = relay.begin(from(), 'ID');
    await transaction.recipient(to('b'));
    const began = performance.now();
    const final = await transaction.send(TRACE, bodyOf(Buffer.from('x\r\n')));
    const tookMs = performance.now() - began;
    assert.match(said(final), /^upstream\.timeout: /);
    assert.ok(tookMs > atLeastMs - 5 && tookMs < 30_000, `${stage}: ${tookMs}`);
  }
});
