import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import type { Reached } from '../../../src/lab/direct.ts';
import { judge, leaks, type Outcome } from '../../../src/lab/perform.ts';
import { EXTRA_HOSTS, PLACED, theScript, type Trial } from '../../../src/lab/script.ts';
import { readSwaks, type Saw } from '../../../src/lab/send.ts';
import type { Arrived } from '../../../src/lab/smarthost.ts';
import { outcomeTable, refusedByKernel, shortly } from '../../../src/lab/table.ts';
import { contains, overlaps, parseAddress, parsePrefix, type Prefix } from '../../../src/kit/address.ts';

const rounds = theScript('run');
const trials = rounds.flatMap((round) => round.trials);

function trialOf(kind: Trial['expected']['kind']): Trial {
  const found = trials.find(({ expected }) => expected.kind === kind);
  assert.ok(found);
  return found;
}

const OURS = '550 5.7.1 The message has the test string [spam.gtube id=0AB https://postern.invalid/classes/spam.gtube]';
const told = (reply: string): Saw => ({ reply, failure: undefined });
const failed = (failure: string): Saw => ({ reply: '', failure });

function arrivedOf(trial: Trial, change: Partial<Arrived> = {}): Arrived {
  return {
    ...{
      from: trial.from,
      to: trial.to,
      sizeBytes: 1,
      subject: 's',
      messageId: 'm',
      bodySha256: '',
      top: 'Received: x',
    },
    ...{ sentSha256: createHash('sha256').update(trial.message).digest('hex') },
    ...{ receivedByUs: true, tls: true, remote: '203.0.113.1', local: '203.0.113.87', ...change },
  };
}
const reached = (change: Partial<Reached> = {}): Reached => ({
  ...{ kind: 'message', from: PLACED.exempted.v4, to: '203.0.113.25', port: 25 },
  ...change,
});

test('a faithful delivery is as expected; every way it can be unfaithful is named', () => {
  const trial = trialOf('delivered');
  const good = arrivedOf(trial);
  assert.deepEqual(judge(trial, told('250 2.6.0 Recorded'), [good], []), []);
  for (const [change, what] of [
    [{ sentSha256: 'other' }, /changed on the way/],
    [{ receivedByUs: false }, /not our Received/],
    [{ tls: false }, /without TLS/],
    [{ from: 'mallory@example.org' }, /sender became <mallory/],
    [{ to: [] }, /recipients became/],
  ] as const) {
    const wrong = judge(trial, told('250 2.6.0 Recorded'), [arrivedOf(trial, change)], []);
    assert.equal(wrong.length, 1);
    assert.match(wrong[0] as string, what);
  }
  assert.match(judge(trial, told('250 ok'), [], []).join(), /0 came to the smarthost/);
  assert.match(judge(trial, told('250 ok'), [good, good], []).join(), /2 came to the smarthost/);
  assert.match(judge(trial, told('250 ok'), [good], [reached()]).join(), /1 came to the server it called/);
  assert.match(judge(trial, told(OURS), [good], []).join(), /the sender saw 550/);
});

test('a refusal has its code and class, and nothing arrives', () => {
  const trial = trials.find(({ id }) => id === 'gtube') as Trial;
  assert.deepEqual(judge(trial, told(OURS), [], []), []);
  assert.match(judge(trial, told(OURS.replace('550', '451')), [], []).join(), /not 550/);
  assert.match(
    judge(trial, told(OURS.replace('[spam.gtube', '[header.from-missing')), [], []).join(),
    /class spam\.gtube/,
  );
  assert.match(judge(trial, told(OURS), [arrivedOf(trial)], []).join(), /1 came to the smarthost/);
});

test('the kernel refuses at once: a time-out or a reply is something else', () => {
  const trial = trialOf('kernel');
  assert.deepEqual(judge(trial, failed('Connection refused'), [], []), []);
  assert.match(judge(trial, failed('Connection timed out'), [], []).join(), /not a refused connection/);
  assert.match(judge(trial, told('250 2.0.0 Taken'), [], [reached()]).join(), /1 came to the server.*not a refused/);
});

test('what is none of ours is answered by the server that was called', () => {
  const trial = trialOf('direct');
  const reply = told('250 2.0.0 Taken by mx.example.org directly');
  assert.deepEqual(judge(trial, reply, [], [reached()]), []);
  assert.match(
    judge(trial, told('250 2.6.0 Recorded by the lab'), [], [reached()]).join(),
    /not the reply of the server/,
  );
  const mirrored = trialOf('mirrored');
  assert.deepEqual(judge(mirrored, told('550 5.1.1 No such user here'), [], []), []);
  assert.match(judge(mirrored, told(OURS), [], []).join(), /own reply/);
});

test('a connection past us is a leak, but for the exempt and for port 587', () => {
  const lines = [reached(), reached({ from: PLACED.exempted.v6 }), reached({ from: '198.51.100.10', port: 587 })];
  assert.deepEqual(leaks(lines), []);
  assert.deepEqual(leaks([...lines, reached({ kind: 'connection', from: '198.51.100.10' })]), [
    '198.51.100.10 reached 203.0.113.25:25',
  ]);
});

test('what swaks prints is read: a reply, a refusal of several lines, a closed port, a lost connection', () => {
  const accepted = '<-  354 go\n -> .\n<-  250-2.6.0 Recorded\n<-  250 2.6.0 by the lab\n -> QUIT\n<-  221 bye\n';
  assert.deepEqual(readSwaks(accepted, ''), told('250-2.6.0 Recorded by the lab'));
  const refused = ' -> RCPT TO:<a@b>\n<** 550-5.1.1 No such\n<** 550 5.1.1 user\n -> QUIT\n<-  221 bye\n';
  assert.deepEqual(readSwaks(refused, ''), told('550-5.1.1 No such user'));
  const closed = '*** Error connecting to 203.0.113.25:25:\n*** \tIO::Socket::INET6: connect: Connection refused\n';
  assert.deepEqual(readSwaks('=== Trying\n', closed), failed('Connection refused'));
  assert.deepEqual(
    readSwaks('<-  220 hi\n -> EHLO x\n', '*** Remote host closed connection unexpectedly.\n').failure,
    'Connection closed by the other side',
  );
});

test('the script tries every network, both families and both clients, each under a subject of its own', () => {
  assert.equal(new Set(trials.map(({ id }) => id)).size, trials.length);
  const networks = new Set(trials.map(({ network }) => network));
  for (const { network } of Object.values(PLACED)) assert.ok(networks.has(network), network);
  assert.ok(networks.has('-'));
  for (const kind of ['delivered', 'refused', 'kernel', 'direct'] as const) {
    const of = trials.filter(({ expected }) => expected.kind === kind);
    assert.ok(of.some(({ source }) => source.includes(':')) && of.some(({ source }) => !source.includes(':')), kind);
  }
  assert.deepEqual([...new Set(trials.map(({ client }) => client))].sort(), ['library', 'swaks']);
  for (const { message } of trials) assert.ok(message.toString().endsWith('\r\n'));
});

test('every host of a network is in its prefixes, no two networks overlap, the stranger is in none', () => {
  const places = Object.values(PLACED).map((place) => ({
    ...place,
    parsed: place.prefixes.map((text) => parsePrefix(text) as Prefix),
  }));
  for (const { v4, v6, parsed } of places) {
    for (const host of [v4, v6]) {
      const address = parseAddress(host);
      assert.ok(address && parsed.some((prefix) => contains(prefix, address)), host);
    }
  }
  const all = places.flatMap(({ parsed }) => parsed);
  assert.ok(all.every((a, i) => all.every((b, j) => i === j || !overlaps(a, b))));
  for (const { source } of trials.filter(({ network }) => network === '-')) {
    const address = parseAddress(source);
    assert.ok(address && !all.some((prefix) => contains(prefix, address)), source);
  }
  assert.equal(EXTRA_HOSTS.includes(PLACED.customer.v4), false);
});

test('the table has a line for each trial, and says under a wrong one what is wrong', () => {
  const outcomes: Outcome[] = trials.map((trial) => ({ trial, saw: told(OURS), arrived: 'nothing', wrong: [] }));
  const text = outcomeTable(rounds, outcomes, { isTerminal: false });
  for (const trial of trials) assert.ok(text.includes(trial.tries), trial.tries);
  assert.ok(text.includes('550 5.7.1 spam.gtube id=0AB'));
  assert.ok(!text.includes('WRONG') && !text.includes('\x1b'));
  const spoilt = outcomes.map((outcome, at) => (at === 3 ? { ...outcome, wrong: ['it came without TLS'] } : outcome));
  assert.match(outcomeTable(rounds, spoilt, { isTerminal: false }), /^WRONG .*\n {4}it came without TLS\n/m);
  assert.ok(outcomeTable(rounds, spoilt, { isTerminal: true }).includes('\x1b[31m'));
  assert.equal(shortly(told(`250 ${'x'.repeat(100)}`)).length, 52);
  assert.equal(shortly(failed('Connection refused')), 'Connection refused');
});

test('the counters of the kernel are shown without those that are nought', () => {
  const refused = [
    { network: 'unrouted', reason: 'unrouted', packets: 4 },
    { network: 'blocked', reason: 'block', packets: 2 },
    { network: 'customers', reason: 'rate', packets: 0 },
  ];
  const report = {
    alive: true,
    aliveSince: 0,
    repaired: 0,
    inside: [],
    refused,
    exemptTo: [],
    topRefused: [],
    workers: [],
    configErrors: 0,
  };
  assert.equal(refusedByKernel(report), 'unrouted 4, blocked: block 2');
  assert.equal(refusedByKernel(undefined), 'nothing counted yet');
});
