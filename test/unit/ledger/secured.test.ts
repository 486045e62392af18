import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '../../../src/kit/clock.ts';
import { MAX_SECURED, type SecuredTold } from '../../../src/ledger/language.ts';
import { Secured } from '../../../src/ledger/secured.ts';

const HOUR_MS = 3_600_000;

test('a server that had TLS is told once, again when half of its time is over, and forgotten when it is; never too many', () => {
  let nowMs = 1_700_000_000_000;
  const clock: Clock = { nowMs: () => nowMs, monotonicMs: () => 0 };
  const told: SecuredTold[] = [];
  const secured = new Secured(clock, (some) => told.push(...some));
  secured.saw('203.0.113.25:25', 0);
  assert.deepEqual([told, secured.list()], [[], []], 'not at all');
  secured.saw('203.0.113.25:25', HOUR_MS);
  nowMs += HOUR_MS / 4;
  secured.saw('203.0.113.25:25', HOUR_MS);
  assert.deepEqual(told.splice(0), [{ server: '203.0.113.25:25', until: nowMs - HOUR_MS / 4 + HOUR_MS }]);
  nowMs += HOUR_MS / 2;
  secured.saw('203.0.113.25:25', HOUR_MS);
  assert.equal(told.splice(0).length, 1);
  nowMs += HOUR_MS;
  assert.deepEqual(secured.list(), []);
  for (let i = 0; i <= MAX_SECURED; i++) secured.saw(`${i}`, HOUR_MS);
  assert.equal(secured.list().length, MAX_SECURED);
  assert.ok(told.some(({ server, until }) => server === '0' && until === 0));
});
