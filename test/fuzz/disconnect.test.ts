/**
 * A host that goes away at any moment, whatever the gateway waits for just then: nothing throws, nothing stays held, and
 * every message that the far side took is one that the host sent whole.
 */
import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { after, before, test } from 'node:test';
import { type FakeUpstream, startFakeUpstream } from '../fake/upstream.ts';
import { startGateway, type TestGateway, testConfig } from '../kit/gateway.ts';
import { count, seed } from '../kit/tier.ts';

const STEPS = [
  'EHLO a.example\r\n',
  'MAIL FROM:<a@a.example>\r\n',
  'RCPT TO:<b@b.example>\r\nRCPT TO:<c@b.example>\r\n',
  'DATA\r\n',
  'From: a@a.example\r\nDate: x\r\n',
  '\r\nbody\r\n.\r\n',
  'MAIL FROM:<>\r\nRCPT TO:<d@b.example>\r\nRSET\r\n',
  'QUIT\r\n',
];

/** A small generator with a seed, so that a failing case can be had again. */
function random(from: number): () => number {
  let state = from >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}

let fake: FakeUpstream;
let gateway: TestGateway;

before(async () => {
  fake = await startFakeUpstream();
  // In memory a destroyed host leaves what was written to it unread for ever; the deadline for that ends the session.
  gateway = await startGateway({ config: await testConfig([fake.endpoint], { limits: 'write_timeout = "500ms"' }) });
});
after(async () => {
  await gateway.close();
  await fake.close();
});

async function play(next: () => number): Promise<void> {
  const host: Duplex = gateway.connect();
  host.on('error', () => {});
  host.resume();
  const leaveAfter = Math.floor(next() * (STEPS.length + 1));
  for (const step of STEPS.slice(0, leaveAfter)) {
    const cut = Math.floor(next() * step.length);
    host.write(step.slice(0, cut));
    for (let turns = Math.floor(next() * 4); turns > 0; turns--) await new Promise((r) => setImmediate(r));
    host.write(step.slice(cut));
    for (let turns = Math.floor(next() * 6); turns > 0; turns--) await new Promise((r) => setImmediate(r));
  }
  if (next() < 0.5) host.destroy();
  else host.end();
  if (next() < 0.3) host.destroy();
}

test(`a host that disconnects at any moment (seed ${seed})`, async () => {
  const faults: unknown[] = [];
  const onFault = (error: unknown): void => void faults.push(error);
  process.on('uncaughtException', onFault);
  process.on('unhandledRejection', onFault);
  const total = count(1000, 20_000);
  for (let i = 0; i < total; i += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, k) => play(random(seed + i + k))));
  }
  // Every session ends by itself once its host is gone.
  while (gateway.gateway.open > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  await fake.until(() => gateway.rooms.relay.servers().every(({ connections }) => connections <= 100));
  process.off('uncaughtException', onFault);
  process.off('unhandledRejection', onFault);
  assert.deepEqual(faults, []);
  assert.equal(gateway.rooms.budget.heldBytes, 0, 'every body was released');
  assert.deepEqual(
    [...gateway.ledger.held.values()].filter((held) => held !== 0),
    [],
    'every admission was released',
  );
  assert.equal(gateway.ledger.attempts.filter((attempt) => attempt.class === 'error.internal').length, 0);
  for (const { body } of fake.messages) assert.match(body.toString('latin1'), /\r\n\r\nbody\r\n$/);
});
