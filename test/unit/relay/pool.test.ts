/** Reuse, poison, order of the servers, what is remembered of them, and the bounds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../src/kit/clock.ts';
import { deliver, fakeFor, finish, from, relayFor, said, to } from './setup.ts';
import type { RelayTransaction } from '../../../src/relay/relay.ts';

test('messages one after the other use one connection', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint]);
  for (let i = 1; i <= 20; i++) {
    const { final } = await deliver(relay);
    assert.equal(final && said(final), `250 2.0.0 taken as ${i}`);
  }
  assert.equal(fake.total, 1);
});

test('an idle connection that says or does anything is never used again', async (t) => {
  for (const spoil of ['250 2.0.0 hello?\r\n', '250', '421 4.4.2 idle too long\r\n', 'reset'] as const) {
    const fake = await fakeFor(t);
    const { relay } = relayFor(t, [fake.endpoint]);
    await deliver(relay);
    if (spoil === 'reset') fake.reset();
    else fake.interject(spoil);
    await fake.until(() => fake.open === 0);
    const { final } = await deliver(relay);
    assert.equal(final && said(final), '250 2.0.0 taken as 2', spoil);
    assert.equal(fake.total, 2, spoil);
  }
});

test('an idle connection that turns out to be dead when it is used: another one, unnoticed', async (t) => {
  for (const how of ['rst', 'fin', { reply: '421 4.4.2 idle too long' }] as const) {
    const fake = await fakeFor(t);
    const { relay } = relayFor(t, [fake.endpoint]);
    await Promise.all([deliver(relay), deliver(relay)]);
    assert.equal(fake.open, 2);
    // Both idle ones are dead; a new one is not.
    fake.misbehave = ({ stage, transactions }) => (stage === 'mail' && transactions === 1 ? how : undefined);
    const { recipients, final } = await deliver(relay);
    assert.equal(said(recipients[0]!), '250 2.1.5 recipient <b@example.net> ok');
    assert.equal(final && said(final), '250 2.0.0 taken as 3');
    assert.equal(fake.total, 3);
  }
});

test('a new connection that dies on MAIL is a failure of the server: once, and the answer is 451', async (t) => {
  const fake = await fakeFor(t, { misbehave: ({ stage }) => (stage === 'mail' ? 'rst' : undefined) });
  const { relay } = relayFor(t, [fake.endpoint]);
  const { recipients } = await deliver(relay);
  assert.match(recipients.map(said).join(), /^upstream\.lost: /);
  assert.equal(fake.total, 1);
});

test('RSET that is not answered, or refused, ends the connection', async (t) => {
  for (const how of ['hang', { reply: '500 5.5.1 what?' }] as const) {
    const fake = await fakeFor(t, { misbehave: ({ stage }) => (stage === 'rset' ? how : undefined) });
    const { relay } = relayFor(t, [fake.endpoint], { replyTimeout: 2000 });
    const transaction = relay.begin(from(), 'ID');
    await transaction.recipient(to('b'));
    transaction.abandon();
    await fake.until(() => fake.open === 0 && fake.total === 1);
    const { final } = await deliver(relay);
    assert.equal(final && said(final), '250 2.0.0 taken as 1');
    assert.equal(fake.total, 2);
  }
});

test('servers are tried in order, and a dead one is dialled once for all', async (t) => {
  const dead = await fakeFor(t, {
    misbehave: ({ stage }) => (stage === 'banner' ? { reply: '554 5.3.2 no' } : undefined),
  });
  const good = await fakeFor(t);
  const { relay, logged } = relayFor(t, [dead.endpoint, good.endpoint]);
  for (let i = 1; i <= 5; i++) {
    const { final } = await deliver(relay);
    assert.equal(final && said(final), `250 2.0.0 taken as ${i}`);
  }
  assert.equal(dead.total, 1);
  assert.equal(logged.filter(({ event }) => event === 'upstream.down').length, 1);
  const [first, second] = relay.servers();
  assert.equal(first?.up, false);
  assert.match(first.reason ?? '', /^upstream\.down: banner: 554 5\.3\.2 no$/);
  assert.equal(second?.up, true);
  assert.equal(second.connections, 1);
});

test('a dead server is probed after about a second, and mail goes to it again', async (t) => {
  const first = await fakeFor(t, { misbehave: () => 'rst' });
  const second = await fakeFor(t);
  const { relay, untilLogged } = relayFor(t, [first.endpoint, second.endpoint]);
  await deliver(relay);
  first.misbehave = undefined;
  await untilLogged('upstream.up', 2);
  assert.equal(first.total, 2);
  const { final } = await deliver(relay);
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
  assert.equal(first.messages.length, 1);
});

test('mail that is turned away has the server asked again, once a second however long it was down', async (t) => {
  // No timer runs off: nothing but mail leads to a dial.
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let nowMs = 0;
  const fake = await fakeFor(t, { misbehave: () => 'rst' });
  const { relay, untilLogged } = relayFor(t, [fake.endpoint], { clock: { ...systemClock, monotonicMs: () => nowMs } });
  await relay.start();
  for (const dials of [1, 2, 3]) {
    for (let i = 0; i < 5; i++) {
      const { recipients } = await deliver(relay);
      assert.match(recipients.map(said).join(), /^upstream\.down: /);
    }
    await fake.until(() => fake.total === dials && fake.open === 0);
    nowMs += 1000;
  }
  fake.misbehave = undefined;
  await deliver(relay);
  await untilLogged('upstream.up');
  const { final } = await deliver(relay);
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
  assert.equal(fake.total, 4);
});

test('all servers down: refused at once, with the reason of each', async (t) => {
  const one = await fakeFor(t, { misbehave: () => 'rst' });
  const two = await fakeFor(t, {
    misbehave: ({ stage }) => (stage === 'ehlo' ? { reply: '451 4.3.0 later' } : undefined),
  });
  const { relay } = relayFor(t, [one.endpoint, two.endpoint]);
  await relay.start();
  const { recipients } = await deliver(relay);
  const text = recipients.map(said).join();
  assert.match(text, /^upstream\.down: /);
  assert.ok(text.includes(`${one.endpoint}: `) && text.includes(`${two.endpoint}: EHLO: 451 4.3.0 later`), text);
  assert.equal(one.total + two.total, 2);
});

test('a server that answers no MAIL is avoided by the next message, while another is there', async (t) => {
  const slow = await fakeFor(t, { misbehave: ({ stage }) => (stage === 'mail' ? 'hang' : undefined) });
  const good = await fakeFor(t);
  const { relay } = relayFor(t, [slow.endpoint, good.endpoint], { replyTimeout: 2000 });
  const { recipients } = await deliver(relay);
  assert.match(recipients.map(said).join(), /^upstream\.timeout: /);
  const { final } = await deliver(relay);
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
});

test('a server without an extension in use is skipped; none has it: upstream.extension', async (t) => {
  const plain = await fakeFor(t, { capabilities: ['PIPELINING'] });
  const rich = await fakeFor(t, { capabilities: ['PIPELINING', '8BITMIME', 'SMTPUTF8', 'DSN', 'SIZE 10'] });
  const { relay } = relayFor(t, [plain.endpoint, rich.endpoint]);
  for (const extension of ['8BITMIME', 'SMTPUTF8', 'DSN', 'SIZE'] as const) {
    const { final } = await deliver(relay, ['b'], undefined, from('<a@example.net>', [extension]));
    assert.equal(final?.kind === 'reply' && final.code, 250, extension);
  }
  assert.equal(rich.messages.length, 4);
  assert.equal(plain.messages.length, 0);
  assert.equal(relay.everOffered('DSN'), true);
  await rich.close();
  await deliver(relay);
  const { recipients } = await deliver(relay, ['b'], undefined, from('<a@example.net>', ['DSN']));
  assert.match(recipients.map(said).join(), /^upstream\.(extension|lost|down): /);
  const later = await deliver(relay, ['b'], undefined, from('<a@example.net>', ['DSN']));
  assert.match(later.recipients.map(said).join(), /^upstream\.extension: .* lacks one of DSN/);
  const { relay: alone } = relayFor(t, [plain.endpoint]);
  const none = await deliver(alone, ['b'], undefined, from('<a@example.net>', ['8BITMIME']));
  assert.match(none.recipients.map(said).join(), /^upstream\.extension: /);
  assert.equal(alone.everOffered('8BITMIME'), false);
});

test('never more connections than the share of this worker, and everybody gets a turn', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 9, workerCount: 4, refresh: 40 });
  const outcomes = await Promise.all(Array.from({ length: 200 }, () => deliver(relay)));
  assert.ok(outcomes.every(({ final }) => final?.kind === 'reply' && final.code === 250));
  assert.equal(fake.messages.length, 200);
  assert.ok(fake.peak <= 2, `${fake.peak}`);
  const { relay: least } = relayFor(t, [fake.endpoint], { maxConnections: 1, workerCount: 64 });
  const { final } = await deliver(least);
  assert.equal(final?.kind === 'reply' && final.code, 250);
});

test('who waits for a connection too long, or is one too many in the line, is told so', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1, replyTimeout: 2000 });
  const holder = relay.begin(from(), 'ID');
  const replies = [await holder.recipient(to('b'))];
  const waiting: RelayTransaction[] = Array.from({ length: 1001 }, () => relay.begin(from(), 'ID'));
  const answers = await Promise.all(waiting.map((one) => one.recipient(to('c'))));
  assert.match(said(answers[1000]!), /^upstream\.down: 1000 transactions wait/);
  assert.match(said(answers[0]!), /^upstream\.down: no connection came free in time \(1 of 1 open\)/);
  assert.match(said(answers[999]!), /^upstream\.down: no connection came free in time/);
  for (const one of waiting) one.abandon();
  const final = await finish(holder, replies);
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
  assert.equal(fake.total, 1);
});

test('a server that takes no more connections while others stand is full, not down', async (t) => {
  const fake = await fakeFor(t);
  fake.misbehave = ({ stage }) => (stage === 'banner' && fake.open > 2 ? { reply: '421 4.7.0 too many' } : undefined);
  const { relay, logged } = relayFor(t, [fake.endpoint], { maxConnections: 50 });
  const outcomes = await Promise.all(Array.from({ length: 40 }, () => deliver(relay)));
  assert.ok(outcomes.every(({ final }) => final?.kind === 'reply' && final.code === 250));
  assert.equal(relay.servers()[0]?.up, true);
  assert.ok(!logged.some(({ event }) => event === 'upstream.down'));
  assert.ok(logged.some(({ event }) => event === 'upstream.full'));
});

test('connections of a server that is not wanted make room for one that is', async (t) => {
  const plain = await fakeFor(t, { capabilities: ['PIPELINING'] });
  const rich = await fakeFor(t);
  const { relay } = relayFor(t, [plain.endpoint, rich.endpoint], { maxConnections: 1 });
  await deliver(relay);
  const { final } = await deliver(relay, ['b'], undefined, from('<a@example.net>', ['DSN']));
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
  assert.equal(rich.messages.length, 1);
  assert.equal(plain.open, 0);
});

test('a full pool is asked for what it offers all the same', async (t) => {
  const fake = await fakeFor(t, { capabilities: ['PIPELINING'] });
  const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1, refresh: 50 });
  await deliver(relay);
  fake.capabilities = ['PIPELINING', 'DSN'];
  for (let i = 0; relay.offers()?.dsn !== true; i++) {
    assert.ok(i < 2000);
    await deliver(relay);
  }
  assert.equal(fake.peak, 1);
});
