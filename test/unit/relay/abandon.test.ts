/** A host can go at any moment: given up after each turn of the loop, nothing leaks and nothing arrives in part. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALL_CAPABILITIES } from '../../fake/upstream.ts';
import { bodyOf, codeOf, deliver, fakeFor, from, relayFor, said, to, TRACE } from './setup.ts';

const BODY = Buffer.alloc(200_000, `${'y'.repeat(62)}\r\n`);
/** More turns than a message takes, so that the last ones are given up after its end. */
const TURNS = 80;

for (const [way, capabilities] of [
  ['pipelined', ALL_CAPABILITIES],
  ['in lockstep', ['8BITMIME']],
] as const) {
  for (const hold of [0, 30_000]) {
    test(`given up after each of ${TURNS} turns, ${way}, hold of ${hold} ms`, async (t) => {
      const fake = await fakeFor(t, { capabilities });
      const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1, hold });
      let afterTheEnd = 0;
      for (let turns = 0; turns < TURNS; turns++) {
        fake.messages.length = 0;
        const transaction = relay.begin(from(), `turn ${turns}`);
        const host = (async () => {
          const replies = await Promise.all([to('b'), to('c')].map((one) => transaction.recipient(one)));
          if (!replies.every((reply) => codeOf(reply) === 250)) return undefined;
          transaction.bodyBegins();
          await turn();
          const body = bodyOf(BODY);
          const final = await transaction.send(TRACE, body);
          body.release();
          return final;
        })();
        for (let i = 0; i < turns; i++) await turn();
        transaction.abandon();
        const final = await host;
        if (final && codeOf(final) === 250) afterTheEnd++;
        // Whole, or not at all; and not without the host being told, but when the dot was out already.
        assert.ok(fake.messages.length <= 1);
        for (const { body, recipients } of fake.messages) {
          assert.equal(Buffer.compare(body, Buffer.concat([TRACE, BODY])), 0);
          assert.equal(recipients.length, 2);
        }
        assert.equal(fake.messages.length, final && codeOf(final) === 250 ? 1 : 0, `${turns}: ${final && said(final)}`);
        // The one connection there may be is free again, or another takes its place.
        const next = await deliver(relay, ['next']);
        assert.equal(next.final && codeOf(next.final), 250, `${turns}: ${next.recipients.map(said).join()}`);
      }
      assert.ok(afterTheEnd > 0 && afterTheEnd < TURNS, `${afterTheEnd}`);
      // A connection that we cut off is closed here before the server has seen it.
      assert.ok(fake.peak <= 2, `${fake.peak}`);
    });
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
