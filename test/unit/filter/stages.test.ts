/** Filters of every stage, planted into the real gateway: what they are given, and what becomes of what they say. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { AnyFilter, Seen, Stage, Subjects } from '../../../src/filter/filter.ts';
import type { Action } from '../../../src/policy/decide.ts';
import { FakeRelay } from '../../fake/relay.ts';
import { hear } from '../../fuzz/hear.ts';
import { SpooledBody } from '../../../src/wire/spool.ts';
import { startGateway, testConfig } from '../../kit/gateway.ts';
import { filtersOf } from '../../kit/mail.ts';

const ONE = 'MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nRCPT TO:<550@b.example>\r\nRCPT TO:<c@b.example>\r\n';
const DIALOG = `EHLO host.example\r\n${ONE}DATA\r\nFrom: a\r\nDate: x\r\n\r\nhi\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<d@b.example>\r\nQUIT\r\n`;

const found = (name: string): Seen => ({ filter: name, name: 'seen', score: 0.5, evidence: '', class: 'spam.gtube' });

type Given = { readonly stage: Stage; readonly subject: Subjects[Stage] };

function plant(given: Given[], action: Action, ...stages: readonly Stage[]): AnyFilter[] {
  return stages.map(
    (stage): AnyFilter => ({
      name: stage,
      stage,
      look(subject: Subjects[Stage]) {
        given.push({ stage, subject });
        return [found(stage)];
      },
      actionOf: () => action,
      failure: 'reject',
    }),
  );
}

async function play(filters: readonly AnyFilter[], network = '') {
  const relay = new FakeRelay();
  const gateway = await startGateway({ config: await testConfig(['127.0.0.1:2'], { network }), filters, relay });
  const host = gateway.connect();
  const heard = hear(host);
  host.write(DIALOG);
  const said = await heard.end();
  await gateway.close();
  return { said, codes: said.split('\r\n').map((line) => line.slice(0, 3)), attempts: gateway.ledger.attempts, relay };
}

describe('a filter of each stage', () => {
  test('looks once a connection, once a transaction, once a message, and is given what is known by then', async () => {
    const given: Given[] = [];
    const { attempts, relay } = await play(plant(given, 'ignore', 'connect', 'envelope', 'body'));
    assert.deepEqual(
      given.map(({ stage }) => stage),
      ['connect', 'envelope', 'body', 'envelope'],
    );
    const connected = {
      source: '198.51.100.10',
      subscriber: '198.51.100.10',
      network: 'customers',
      destination: '203.0.113.25',
    };
    const enveloped = { ...connected, helo: 'host.example', isEarly: false, sender: 'a@a.example' };
    assert.deepEqual(given[0]?.subject, connected);
    assert.deepEqual(given[1]?.subject, { ...enveloped, recipients: ['b@b.example'] });
    const { message, ...mail } = (given[2] as Given).subject as Subjects['body'];
    assert.deepEqual(mail, { ...enveloped, recipients: ['b@b.example', 'c@b.example'] });
    assert.equal(message.fields()[0]?.name, 'from');
    assert.deepEqual(given[3]?.subject, { ...enveloped, sender: '', recipients: ['d@b.example'] });
    assert.equal(relay.messages.length, 1);
    assert.deepEqual(
      attempts.map(({ findings }) => findings.map(({ filter }) => filter)),
      [
        ['connect', 'envelope', 'body'],
        ['connect', 'envelope'],
      ],
    );
  });

  test('of the connection: its refusal stands in place of the banner', async () => {
    const { said, attempts } = await play(plant([], 'reject', 'connect'));
    assert.match(said, /^550 5\.7\.1 [^\r]*\[spam\.gtube [^\r]*\r\n$/);
    assert.deepEqual(
      attempts.map((one) => [one.class, one.findings.length]),
      [['spam.gtube', 1]],
    );
    assert.match((await play(plant([], 'defer', 'connect'))).said, /^421 4\.7\.1 [^\r]*\r\n$/);
  });

  test('of the envelope: its refusal answers each recipient, and the far side is not asked', async () => {
    const { codes, relay, attempts } = await play(plant([], 'defer', 'envelope'));
    // What follows the refused DATA is a body and no command: the connection ends.
    assert.deepEqual(codes.slice(-7), ['250', '451', '451', '451', '503', '500', '']);
    assert.equal(relay.open, 0);
    assert.deepEqual(
      attempts.map((one) => [one.verdict, one.class, one.findings.length]),
      [['defer', 'spam.gtube', 1]],
    );
  });

  test('what each stage has found adds up to the thresholds', async () => {
    const { attempts } = await play(plant([], 'ignore', 'connect', 'envelope', 'body'), 'score_reject = 1.5');
    assert.deepEqual(
      attempts.map((one) => one.class),
      ['spam.score', 'session.no-message'],
    );
  });

  test('"lock-points" lets the message go, and the record says what counts', async () => {
    const { attempts, relay } = await play(plant([], 'lock-points', 'connect', 'envelope', 'body'));
    assert.equal(relay.messages.length, 1);
    assert.deepEqual(
      attempts.map((one) => [one.class, one.points]),
      [
        ['accepted.clean', ['spam.gtube']],
        ['session.no-message', ['spam.gtube']],
      ],
    );
  });

  test('mode "observe" refuses at no stage', async () => {
    const { attempts, relay } = await play(plant([], 'reject', 'connect', 'envelope', 'body'), 'mode = "observe"');
    assert.equal(relay.messages.length, 1);
    assert.deepEqual([attempts[0]?.class, attempts[0]?.wouldBe], ['accepted.observed', 'spam.gtube']);
  });
});

test('content = "blind": no filter that looks at messages runs, whatever is in them; the others do', async () => {
  const given: Given[] = [];
  // It would notice: a planted reader of every byte, which refuses all it sees.
  const reader: AnyFilter = {
    name: 'reader',
    stage: 'body',
    look({ message }) {
      return [...message.raw()].map(() => found('reader'));
    },
    actionOf: () => 'reject',
    failure: 'reject',
  };
  const filters = [...plant(given, 'ignore', 'connect', 'envelope', 'body'), reader];
  const seeing = await play(filters);
  assert.equal(seeing.relay.messages.length, 0, 'it does notice where it may look');
  given.length = 0;
  const { relay, attempts } = await play(filters, 'content = "blind"');
  assert.equal(relay.messages.length, 1);
  assert.deepEqual(
    given.map(({ stage }) => stage),
    ['connect', 'envelope', 'envelope'],
  );
  assert.deepEqual(
    attempts[0]?.findings.map(({ filter }) => filter),
    ['connect', 'envelope'],
  );
});

test('content = "blind": no identity is found in a header', async () => {
  const identity = 'identity = ["header From"]';
  const [seen] = (await play([], identity)).attempts;
  assert.equal(seen?.identity, 'a');
  const [unseen] = (await play([], `content = "blind"\n${identity}`)).attempts;
  assert.deepEqual([unseen?.verdict, unseen?.identity], ['accept', undefined]);
});

test('content = "blind": the message is read twice: for its Received lines, and to be sent', async () => {
  // oxlint-disable-next-line typescript/unbound-method -- called with its own `this`, and put back
  const { read } = SpooledBody.prototype;
  let reads = 0;
  SpooledBody.prototype.read = function counted(this: SpooledBody, scratch?: Buffer) {
    reads++;
    return read.call(this, scratch);
  };
  const filters = (await filtersOf('attachments.enabled = true')).body as readonly AnyFilter[];
  try {
    await play(filters);
    assert.ok(reads > 2, 'filters that look do read');
    reads = 0;
    await play(filters, 'content = "blind"');
  } finally {
    SpooledBody.prototype.read = read;
  }
  assert.equal(reads, 2);
});

test('a host that leaves while a filter looks at its connection is not greeted', async () => {
  const { promise: asked, resolve: isAsked } = Promise.withResolvers<void>();
  const { promise: answer, resolve } = Promise.withResolvers<Seen[]>();
  const slow: AnyFilter = {
    name: 'slow',
    stage: 'connect',
    look() {
      isAsked();
      return answer;
    },
    actionOf: () => 'reject',
    failure: 'reject',
  };
  const gateway = await startGateway({
    config: await testConfig(['127.0.0.1:2']),
    filters: [slow],
    relay: new FakeRelay(),
  });
  const host = gateway.connect();
  await asked;
  host.destroy();
  while (gateway.gateway.open > 0) await new Promise(setImmediate);
  resolve([found('slow')]);
  await gateway.close();
  assert.deepEqual(gateway.ledger.attempts, []);
  assert.equal(gateway.ledger.held.get('198.51.100.10'), 0);
});
