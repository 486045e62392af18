/** Times in the record: milliseconds to three decimals, from a clock whose differences have fifteen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Origin, refusedArrival, Work } from '../../../src/gateway/work.ts';
import { testConfig } from '../../kit/gateway.ts';

async function origin(): Promise<Origin> {
  const [network] = (await testConfig(['127.0.0.1:2526'])).network;
  assert.ok(network);
  const arrival = { source: '198.51.100.10', sourcePort: 1025, destination: '203.0.113.25', destinationPort: 25 };
  const whose = { network, subscriber: undefined, limits: undefined, subject: arrival.source };
  return {
    session: '01HZX3V9P00000B2',
    worker: 1,
    ...whose,
    arrival,
    tls: undefined,
    isEarly: false,
    found: undefined,
  };
}
const from = { path: '<a@a.example>', parameters: '', needs: [] };
const times = ({ verdictMs, relayMs, totalMs }: ReturnType<Work['toAttempt']>): unknown[] => [
  verdictMs,
  relayMs,
  totalMs,
];

test('of a transaction', async () => {
  const work = new Work(await origin(), { id: '1', from, smtpUtf8: false, recipients: [] }, 1_700_000_000_000, 1000.1);
  assert.deepEqual(times(work.toAttempt('a.example', true, 'session.no-message', 1000.4)), [undefined, undefined, 0.3]);
  work.verdictMs = 12.345678;
  work.relayMs = 1.0004999;
  assert.deepEqual(times(work.toAttempt('a.example', true, 'session.no-message', 3000.7)), [12.346, 1, 2000.6]);
  work.verdictMs = 0;
  assert.equal(work.toAttempt('a.example', true, 'session.no-message', 3000.7).verdictMs, 0);
});

test('of a connection without one', async () => {
  const attempt = refusedArrival(await origin(), 1_700_000_000_000, undefined, false, 'session.no-message', 0.1 + 0.2);
  assert.deepEqual(times(attempt), [undefined, undefined, 0.3]);
});
