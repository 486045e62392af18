/** The plain ways of a message: groups, replies, reuse, offers, state. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BODY, deliver, fakeFor, finish, from, relayFor, said, to, TRACE } from './setup.ts';

test('a message arrives to the byte, with the trace on top', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint]);
  const { recipients, final } = await deliver(relay, ['b', 'c']);
  assert.deepEqual(recipients.map(said), [
    '250 2.1.5 recipient <b@example.net> ok',
    '250 2.1.5 recipient <c@example.net> ok',
  ]);
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
  const [message] = fake.messages;
  assert.equal(message?.from, '<a@example.net>');
  assert.deepEqual(message.recipients, ['<b@example.net>', '<c@example.net>']);
  assert.deepEqual(message.body, Buffer.concat([TRACE, BODY]));
});

test('an empty body and bodies around the size of a write arrive to the byte', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint]);
  const sizes = [0, 2, 65_534, 65_536, 65_538, 131_072, 262_144, 1_000_000, 3_000_000];
  for (const size of sizes) {
    const bytes = Buffer.alloc(size, 'x');
    for (let at = 998; at < size; at += 1000) bytes.write('\r\n', at - 2, 'latin1');
    if (size > 0) bytes.write('\r\n', size - 2, 'latin1');
    const { final } = await deliver(relay, ['b'], bytes);
    assert.equal(final?.kind === 'reply' && final.code, 250, `${size}`);
    assert.equal(
      Buffer.compare(fake.messages.at(-1)?.body ?? Buffer.of(), Buffer.concat([TRACE, bytes])),
      0,
      `${size}`,
    );
  }
  assert.equal(fake.total, 1);
});

test('MAIL goes out with the recipients of the same turn in one write, and parameters are passed on', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint]);
  const transaction = relay.begin(from('<é@example.net>', ['SMTPUTF8'], ' SMTPUTF8'), 'ID');
  const replies = await Promise.all([
    transaction.recipient({ path: '<b@example.net>', parameters: ' NOTIFY=NEVER' }),
    transaction.recipient(to('c')),
  ]);
  await finish(transaction, replies);
  const segmentOf = (prefix: string) => fake.commands.find(({ line }) => line.startsWith(prefix))?.segment;
  assert.ok(fake.commands.some(({ line }) => line === 'MAIL FROM:<é@example.net> SMTPUTF8'));
  assert.equal(segmentOf('RCPT TO:<b@example.net> NOTIFY=NEVER'), segmentOf('MAIL'));
  assert.equal(segmentOf('RCPT TO:<c'), segmentOf('MAIL'));
  assert.notEqual(segmentOf('DATA'), segmentOf('MAIL'));
});

test('without PIPELINING each command waits for the reply before it', async (t) => {
  const fake = await fakeFor(t, { capabilities: ['8BITMIME'] });
  const { relay } = relayFor(t, [fake.endpoint]);
  const transaction = relay.begin(from(), 'ID');
  const replies = await Promise.all([transaction.recipient(to('b')), transaction.recipient(to('c'))]);
  const final = await finish(transaction, replies);
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
  const segments = fake.commands.map(({ segment }) => segment);
  assert.equal(new Set(segments).size, segments.length);
});

test('mixed answers map one to one, and the message goes to those accepted', async (t) => {
  const fake = await fakeFor(t, {
    misbehave: ({ line }) =>
      line.includes('<no')
        ? { reply: '550-5.1.1 no such\r\n550 5.1.1 user' }
        : line.includes('<later')
          ? { reply: '450 4.2.1 later' }
          : undefined,
  });
  const { relay } = relayFor(t, [fake.endpoint]);
  const { recipients, final } = await deliver(relay, ['b', 'no', 'later', 'c']);
  assert.deepEqual(recipients.map(said), [
    '250 2.1.5 recipient <b@example.net> ok',
    '550-5.1.1 no such\r\n550 5.1.1 user',
    '450 4.2.1 later',
    '250 2.1.5 recipient <c@example.net> ok',
  ]);
  assert.equal(final?.kind === 'reply' && final.code, 250);
  assert.deepEqual(fake.messages[0]?.recipients, ['<b@example.net>', '<c@example.net>']);
});

test('a refusal of MAIL is the answer to every recipient, and the connection is used again', async (t) => {
  const fake = await fakeFor(t, {
    misbehave: ({ stage, line }) =>
      stage === 'mail' && line.includes('<bad') ? { reply: '553 5.1.8 not you' } : undefined,
  });
  const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1 });
  const transaction = relay.begin(from('<bad@example.net>'), 'ID');
  const first = await Promise.all([transaction.recipient(to('b')), transaction.recipient(to('c'))]);
  const later = await transaction.recipient(to('d'));
  assert.deepEqual([...first, later].map(said), Array(3).fill('553 5.1.8 not you'));
  transaction.abandon();
  const { final } = await deliver(relay);
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
  assert.equal(fake.total, 1);
});

test('a refused message and a refused DATA are passed on, and the connection is used again', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1 });
  fake.misbehave = ({ stage }) => (stage === 'dot' ? { reply: '554 5.7.1 spam' } : undefined);
  const refused = await deliver(relay);
  assert.equal(refused.final && said(refused.final), '554 5.7.1 spam');
  fake.misbehave = ({ stage }) => (stage === 'data' ? { reply: '452 4.3.1 full' } : undefined);
  const full = await deliver(relay);
  assert.equal(full.final && said(full.final), '452 4.3.1 full');
  fake.misbehave = undefined;
  const taken = await deliver(relay);
  assert.equal(taken.final && said(taken.final), '250 2.0.0 taken as 1');
  assert.equal(fake.total, 1);
  assert.equal(fake.messages.length, 1);
});

test('an abandoned envelope is reset, and the next message has nothing of it', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1 });
  const given = relay.begin(from('<old@example.net>'), 'ID');
  await given.recipient(to('old'));
  given.abandon();
  given.abandon();
  await fake.until(() => fake.commands.some(({ line }) => line === 'RSET'));
  await deliver(relay, ['new']);
  assert.equal(fake.total, 1);
  assert.deepEqual(
    fake.messages.map(({ recipients }) => recipients),
    [['<new@example.net>']],
  );
});

test('abandoned while a recipient is asked: the answer comes, the connection is reset', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint], { maxConnections: 1 });
  await deliver(relay);
  const transaction = relay.begin(from('<old@example.net>'), 'ID');
  const asked = transaction.recipient(to('old'));
  await fake.until(() => fake.commands.some(({ line }) => line === 'RCPT TO:<old@example.net>'));
  transaction.abandon();
  assert.equal(said(await asked), '250 2.1.5 recipient <old@example.net> ok');
  assert.equal(said(await transaction.recipient(to('x'))), 'session.gone: the transaction was given up');
  await fake.until(() => fake.commands.at(-1)?.line === 'RSET');
  const { final } = await deliver(relay);
  assert.equal(final && said(final), '250 2.0.0 taken as 2');
  assert.equal(fake.total, 1);
});

test('abandoned mid-body: the connection is cut, nothing arrives', async (t) => {
  const fake = await fakeFor(t, { misbehave: ({ stage }) => (stage === 'body' ? 'hang' : undefined) });
  const { relay } = relayFor(t, [fake.endpoint]);
  const transaction = relay.begin(from(), 'ID');
  const replies = [await transaction.recipient(to('b'))];
  const final = finish(transaction, replies, Buffer.alloc(20_000_000, 'x\r\n'));
  await fake.until(() => fake.bodyBytes > 0);
  transaction.abandon();
  const reply = await final;
  assert.equal(reply?.kind === 'failure' && reply.class, 'upstream.lost');
  assert.equal(fake.messages.length, 0);
});

test('a line break in a path never reaches the server', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint]);
  const bad = await deliver(relay, ['b'], BODY, from('<a>\r\nRCPT TO:<x@example.net>'));
  assert.equal(bad.recipients[0]?.kind === 'failure' && bad.recipients[0].class, 'error.internal');
  const transaction = relay.begin(from(), 'ID');
  const reply = await transaction.recipient({ path: '<b@example.net>', parameters: '\nDATA' });
  assert.equal(reply.kind === 'failure' && reply.class, 'error.internal');
  transaction.abandon();
  assert.ok(!fake.commands.some(({ line }) => /MAIL|RCPT|DATA/.test(line)));
});

test('a body shorter than it says is never ended with a dot', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint]);
  const transaction = relay.begin(from(), 'ID');
  await transaction.recipient(to('b'));
  const short = {
    sizeBytes: 100,
    *read() {
      yield Buffer.from('only this\r\n');
    },
  };
  const reply = await transaction.send(TRACE, short as never);
  assert.match(said(reply), /^upstream\.lost: the body has/);
  const broken = relay.begin(from(), 'ID');
  await broken.recipient(to('b'));
  const unreadable = {
    sizeBytes: 100,
    *read(): Generator<Buffer> {
      yield BODY;
      throw new Error('EIO');
    },
  };
  const failed = await broken.send(TRACE, unreadable as never);
  assert.match(said(failed), /^error\.internal: .*EIO/);
  await fake.until(() => fake.open === 0);
  assert.equal(fake.messages.length, 0);
});

test('offers: what every live server offers and we carry; HELO alone offers nothing', async (t) => {
  const first = await fakeFor(t, {
    capabilities: ['PIPELINING', 'SIZE 1000', 'DSN', 'CHUNKING', 'BINARYMIME', '8BITMIME'],
  });
  const second = await fakeFor(t, { capabilities: ['SIZE', 'DSN', 'SMTPUTF8', '8BITMIME'] });
  const { relay, untilLogged } = relayFor(t, [first.endpoint, second.endpoint]);
  assert.equal(relay.offers(), undefined);
  await relay.start();
  await untilLogged('upstream.up', 2);
  assert.deepEqual(relay.offers(), {
    size: 1000,
    eightBitMime: true,
    smtpUtf8: false,
    dsn: true,
    enhancedStatusCodes: false,
    pipelining: false,
    startTls: false,
    chunking: false,
  });
  assert.equal(relay.everOffered('SMTPUTF8'), true);
  const old = await fakeFor(t, { isOld: true });
  const { relay: plain } = relayFor(t, [old.endpoint]);
  await plain.start();
  assert.equal(plain.offers()?.size, undefined);
  assert.equal(plain.offers()?.eightBitMime, false);
  assert.equal(plain.everOffered('8BITMIME'), false);
  const { final } = await deliver(plain);
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
});

test('offers: SIZE without a limit becomes ours, and the offers outlive a server that is down', async (t) => {
  const fake = await fakeFor(t, { capabilities: ['SIZE 0', 'DSN'] });
  const { relay, untilLogged } = relayFor(t, [fake.endpoint]);
  await relay.start();
  await fake.close();
  await deliver(relay);
  await untilLogged('upstream.down');
  assert.equal(relay.servers()[0]?.up, false);
  assert.equal(relay.offers()?.size, 50 * 1024 * 1024);
  assert.equal(relay.offers()?.dsn, true);
});

test('every server is asked again after refresh, and what it offers now is what counts', async (t) => {
  const fake = await fakeFor(t, { capabilities: ['SIZE 1000'] });
  const { relay } = relayFor(t, [fake.endpoint], { refresh: 50 });
  await relay.start();
  assert.equal(relay.offers()?.dsn, false);
  fake.capabilities = ['SIZE 1000', 'DSN'];
  await fake.until(() => relay.offers()?.dsn === true);
});

test('start resolves with the first server that answers, and when none does', async (t) => {
  const hanging = await fakeFor(t, { misbehave: () => 'hang' });
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [hanging.endpoint, fake.endpoint], { connectTimeout: 60_000 });
  await relay.start();
  assert.deepEqual(
    relay.servers().map(({ up }) => up),
    [false, true],
  );
  const gone = await fakeFor(t);
  const { endpoint } = gone;
  await gone.close();
  const { relay: alone } = relayFor(t, [endpoint]);
  await alone.start();
  assert.equal(alone.offers(), undefined);
  assert.match(alone.servers()[0]?.reason ?? '', /^upstream\.down: connect ECONNREFUSED/);
});

test('close ends idle connections with QUIT and waits for those in use', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint]);
  const transaction = relay.begin(from(), 'ID');
  const replies = [await transaction.recipient(to('b'))];
  await deliver(relay);
  assert.equal(fake.open, 2);
  let isClosed = false;
  const closed = relay.close().then(() => (isClosed = true));
  await fake.until(() => fake.commands.some(({ line }) => line === 'QUIT') && fake.open === 1);
  assert.equal(isClosed, false);
  const final = await finish(transaction, replies);
  assert.equal(final && said(final), '250 2.0.0 taken as 2');
  await closed;
  await fake.until(() => fake.open === 0);
});

test('idle connections are closed after idle_timeout', async (t) => {
  const fake = await fakeFor(t);
  const { relay } = relayFor(t, [fake.endpoint], { idleTimeout: 100 });
  await deliver(relay);
  assert.equal(fake.open, 1);
  await fake.until(() => fake.open === 0);
  assert.equal(fake.commands.at(-1)?.line, 'QUIT');
});

test('a relay that has reached nothing offers what the one before it did, until it knows better', async (t) => {
  const rich = await fakeFor(t, { capabilities: ['PIPELINING', '8BITMIME', 'DSN', 'SIZE 1000'] });
  const first = relayFor(t, [rich.endpoint]).relay;
  await first.start();
  const known = first.offers();
  assert.ok(known?.eightBitMime && known.size === 1000);

  const late = await fakeFor(t, { capabilities: ['PIPELINING', 'SIZE 500'] });
  const dead = relayFor(t, [late.endpoint], { connectTimeout: 100 }, first);
  late.misbehave = () => 'rst';
  await dead.relay.start();
  assert.equal(dead.relay.servers()[0]?.up, false);
  assert.deepEqual(dead.relay.offers(), known);
  assert.deepEqual([dead.relay.everOffered('DSN'), dead.relay.everOffered('SMTPUTF8')], [true, false]);

  // One more reload in the same state forgets nothing.
  const again = relayFor(t, [late.endpoint], { connectTimeout: 100 }, dead.relay);
  await again.relay.start();
  assert.deepEqual(again.relay.offers(), known);
  late.misbehave = undefined;
  await again.untilLogged('upstream.up');
  assert.deepEqual([again.relay.offers()?.eightBitMime, again.relay.offers()?.size], [false, 500]);
  assert.equal(again.relay.everOffered('DSN'), false);
});
