/** Servers that read slowly, or not at all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
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

test('a server that reads slowly but steadily is waited for, however long the whole takes', async (t) => {
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

test('the reply to the message has final_timeout, the others reply_timeout', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint], { replyTimeout: 300, finalTimeout: 1500 });
  for (const [stage, atLeastMs, belowMs] of [
    ['data', 300, 1400],
    ['dot', 1500, 5000],
  ] as const) {
    fake.misbehave = (moment) => (moment.stage === stage ? 'hang' : undefined);
    const transaction = relay.begin(from(), 'ID');
    await transaction.recipient(to('b'));
    const began = performance.now();
    const final = await transaction.send(TRACE, bodyOf(Buffer.from('x\r\n')));
    const tookMs = performance.now() - began;
    assert.match(said(final), /^upstream\.timeout: /);
    assert.ok(tookMs > atLeastMs - 5 && tookMs < belowMs, `${stage}: ${tookMs}`);
  }
});
