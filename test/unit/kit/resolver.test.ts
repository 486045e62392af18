import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Asking, Names } from '../../../src/kit/resolver.ts';
import { FakeDns } from '../../fake/dns.ts';

const dns = new FakeDns({ 'a.example': { TXT: ['x'.repeat(3000)], A: ['203.0.113.1'] } });
before(() => dns.start());
after(() => dns.close());

const names = (): Names => new Names({ servers: [dns.address], timeoutMs: 200 });
const code = (expected: string) => (error: NodeJS.ErrnoException) => error.code === expected;

test('an answer is remembered, that there is none too, and a failure is not', async () => {
  const own = names();
  const { length } = dns.asked;
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(await own.resolve('A.example', 'A'), ['203.0.113.1']);
    await assert.rejects(own.resolve('none.example', 'TXT'), code('ENOTFOUND'));
  }
  assert.equal(dns.asked.length - length, 2);
  dns.behaviour = 'servfail';
  await assert.rejects(own.resolve('b.example', 'A'), code('ESERVFAIL'));
  dns.behaviour = 'answer';
  await assert.rejects(own.resolve('b.example', 'A'), code('ENOTFOUND'));
});

test('an answer too large for a datagram is asked for over TCP', async () => {
  assert.equal(((await names().resolve('a.example', 'TXT')) as string[][])[0]?.join('').length, 3000);
});

test('a question has its time, and a thousand may wait', async () => {
  const own = names();
  dns.behaviour = 'hang';
  const startMs = performance.now();
  const questions = Array.from({ length: 1100 }, (_, i) => own.resolve(`n${i}.example`, 'A'));
  const outcomes = await Promise.allSettled(questions);
  assert.ok(outcomes.every((one) => one.status === 'rejected' && code('ETIMEOUT')(one.reason)));
  const reasons = outcomes.map((one) => (one as { reason: Error }).reason.message);
  const turnedAway = reasons.filter((reason) => reason.startsWith('1000 look-ups wait'));
  assert.equal(turnedAway.length, 100);
  assert.ok(performance.now() - startMs < 60_000);
  dns.behaviour = 'answer';
});

test('what one subject asks is counted, and whether anybody answered', async () => {
  const asking = new Asking(names(), 2);
  assert.ok(!asking.isUnanswered, 'nothing was asked');
  dns.behaviour = 'hang';
  await assert.rejects(asking.resolve('c.example', 'A'), code('ETIMEOUT'));
  assert.ok(asking.isUnanswered);
  dns.behaviour = 'answer';
  await assert.rejects(asking.resolve('d.example', 'A'), code('ENOTFOUND'));
  assert.ok(!asking.isUnanswered, 'that there is nothing is an answer');
  await assert.rejects(asking.resolve('a.example', 'A'), /too many look-ups/);
});
