import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Behaviours } from '../../../src/ledger/behaviours.ts';
import type { Attempt } from '../../../src/record/events.ts';
import { attempt } from './sample.ts';

const told = (more: Partial<Attempt>): Attempt => ({ ...attempt(), ...more });
const rcpt = (
  recipient: string,
  code: number,
  of: Attempt['class'] = code < 400 ? 'accepted.clean' : 'upstream.reply',
) => ({
  recipient,
  code,
  class: of,
});

test('names, senders and recipients are counted each once, for each subscriber apart', () => {
  const behaviours = new Behaviours(1000, 0);
  for (let i = 0; i < 10; i++)
    behaviours.attempt(
      'a',
      told({
        helo: `H${i % 3}.example`,
        sender: `<x@d${i % 4}.example>`,
        recipients: [rcpt(`<r${i % 5}@b.example>`, 250)],
      }),
      i,
    );
  const { helos, senderDomains, recipients, asked, unknown } = behaviours.ask('a', 'h0.example', 20);
  assert.deepEqual([helos, senderDomains, recipients, asked, unknown], [3, 4, 5, 10, 0]);
  assert.equal(behaviours.ask('a', 'new.example', 20).helos, 4, 'the one of this session counts');
  assert.deepEqual(behaviours.ask('b', '', 20).recipients, 0);
});

test('unknown is what the far side says is unknown, and not what we refuse', () => {
  const behaviours = new Behaviours(1000, 0);
  const recipients = [
    rcpt('<a@b>', 250),
    rcpt('<b@b>', 550),
    rcpt('<c@b>', 450),
    rcpt('<d@b>', 550, 'locked.subscriber'),
    rcpt('<e@b>', 0),
  ];
  behaviours.attempt('a', told({ recipients }), 1);
  const { asked, unknown } = behaviours.ask('a', '', 2);
  assert.deepEqual([asked, unknown], [3, 1]);
});

test('what is older than a window and a half does not count', () => {
  const behaviours = new Behaviours(1000, 0);
  behaviours.attempt('a', told({ helo: 'one' }), 0);
  behaviours.attempt('a', told({ helo: 'two' }), 600);
  assert.equal(behaviours.ask('a', '', 601).helos, 2);
  assert.equal(behaviours.ask('a', '', 1101).helos, 1);
  assert.equal(behaviours.ask('a', '', 5000).helos, 0);
});

test('the first mail of a subscriber is known once there has been a window to look', () => {
  const behaviours = new Behaviours(1000, 0);
  behaviours.attempt('a', told({}), 1);
  assert.equal(behaviours.ask('b', '', 2).isFirst, false);
  assert.equal(behaviours.ask('b', '', 1000).isFirst, true);
  assert.equal(behaviours.ask('a', '', 1000).isFirst, false);
  behaviours.attempt('b', told({}), 1001);
  assert.equal(behaviours.ask('b', '', 1002).isFirst, false);
});

test('what is remembered of all subscribers together has an end, and each half of the window begins anew', () => {
  const behaviours = new Behaviours(1000, 0);
  const recipients = Array.from({ length: 2000 }, (_, i) => rcpt(`<r${i}@b.example>`, 250));
  const fill = (atMs: number): void => {
    for (let i = 0; i < 500; i++) behaviours.attempt(`s${i}`, told({ recipients }), atMs);
  };
  fill(1);
  assert.equal(behaviours.ask('s0', '', 2).recipients, 2000);
  assert.ok(behaviours.ask('s499', '', 2).recipients < 2000);
  behaviours.attempt('late', told({ recipients }), 3);
  assert.equal(behaviours.ask('late', '', 4).recipients, 0);
  assert.equal(behaviours.ask('late', '', 4).asked, 2000);
  behaviours.attempt('late', told({ recipients }), 600);
  assert.equal(behaviours.ask('late', '', 601).recipients, 2000);
});
