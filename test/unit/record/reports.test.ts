/** Reports of refused messages: each as RFC 5965 has it, few of them however many are refused, and none lost in silence. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { feedbackOf } from '../../../src/policy/feedback.ts';
import { accountOf, composeArf } from '../../../src/record/arf.ts';
import type { Attempt, Copy, Finding } from '../../../src/record/events.ts';
import { Outgoing, type Handing } from '../../../src/record/outgoing.ts';
import { Mark, type OwnMail } from '../../../src/record/own-mail.ts';
import { type Digest, type Reported, Reports } from '../../../src/record/reports.ts';
import { readReport } from '../../kit/arf.ts';
import { testClock } from '../../kit/clock.ts';
import { logbook } from '../../kit/logbook.ts';
import { attempt } from '../ledger/sample.ts';

const HOUR_MS = 3_600_000;
const writer = { from: 'postern@example.net', gateway: 'gw1.example.net', mark: new Mark() };
const finding = (filter: string, name: string, evidence = ''): Finding => ({ filter, name, score: 1, evidence });
const refusal = (change: Partial<Attempt>): Attempt =>
  attempt({
    verdict: 'reject',
    sender: 'alice@a.example',
    recipients: [{ recipient: 'bob@b.example', code: 250, class: 'accepted.clean' }],
    ...change,
  });
const copyOf = (text: string, isWhole = true): Copy => ({
  kind: 'copy',
  id: '01HZX3V9Q00000A1',
  isWhole,
  octets: Buffer.from(text, 'latin1').toString('base64'),
});

async function reportOf(
  change: Partial<Attempt>,
  copy?: Copy,
  subject = '198.51.100.7',
): Promise<{ own: OwnMail; report: ReturnType<typeof readReport> }> {
  const refused = refusal(change);
  const type = feedbackOf(refused.class, refused.findings);
  assert.ok(type, 'it is one that is reported');
  const own = await composeArf(writer, {
    ...{ to: 'abuse@example.com', type, attempt: refused, subject, copy },
    ...{ version: '0.1.0', helpUrl: 'https://mail.example.net/', nowMs: Date.now() },
  });
  return { own, report: readReport(own.bytes.toString('latin1')) };
}

const MESSAGE = [
  'Received: from x by y; Mon, 1 Jan 2024 00:00:00 +0000',
  'From: Alice <alice@a.example>',
  'Content-Type: multipart/mixed; boundary="----_NmP"',
  'Subject: =?utf-8?q?caf=C3=A9?= and caf\xe9',
  '',
  '------_NmP',
  '.leading dot, 8 bits: \xe4\xf6\xfc',
  '------_NmP--',
  '',
].join('\r\n');

test('the domain that is reported is a name; the literal of an address is none', async () => {
  const domainOf = async (sender: string): Promise<unknown> =>
    (await reportOf({ class: 'spam.gtube', sender })).report.fields.get('reported-domain');
  assert.deepEqual(await domainOf('alice@a.example'), ['a.example']);
  assert.equal(await domainOf('alice@[192.0.2.1]'), undefined);
});

const TRIGGERS: readonly (readonly [string, Partial<Attempt>, string])[] = [
  ['spam', { class: 'spam.gtube', findings: [finding('gtube', 'GTUBE')] }, 'abuse'],
  ['spam by score', { class: 'spam.score', findings: [finding('rspamd', 'BAYES_SPAM')] }, 'abuse'],
  ['phishing by a scanner of spam', { class: 'spam.rspamd', findings: [finding('rspamd', 'PHISHING')] }, 'fraud'],
  [
    'phishing by a scanner for viruses',
    { class: 'virus.found', findings: [finding('clamd', 'Heuristics.Phishing.Email')] },
    'fraud',
  ],
  ['a forged author', { class: 'auth.dmarc-reject' }, 'fraud'],
  ['a virus', { class: 'virus.found', findings: [finding('clamd', 'Eicar-Test-Signature')] }, 'virus'],
];

describe('Shows 3: a report validates against RFC 5965 for each trigger', () => {
  for (const [name, change, type] of TRIGGERS) {
    test(`${name} is ${type}`, async () => {
      const { report } = await reportOf(change, copyOf(MESSAGE));
      assert.deepEqual(report.fields.get('feedback-type'), [type]);
      assert.equal(report.third, 'message/rfc822');
      assert.equal(report.quoted, MESSAGE, 'to the octet');
    });
  }

  test('who, when and from where: addresses, account, domain, id and class', async () => {
    const change = {
      class: 'spam.gtube',
      identity: 'bob',
      subscriber: 'web-17',
      at: Date.UTC(2026, 0, 2, 3, 4, 5),
    } as const;
    const { report, own } = await reportOf(change, copyOf(MESSAGE), '@web-17');
    const only = (field: string): readonly string[] | undefined => report.fields.get(field);
    assert.deepEqual(only('source-ip'), ['198.51.100.7']);
    assert.deepEqual(only('arrival-date'), ['Fri, 02 Jan 2026 03:04:05 +0000']);
    assert.deepEqual(only('reported-domain'), ['a.example']);
    assert.deepEqual(only('original-mail-from'), ['<alice@a.example>']);
    assert.deepEqual(only('original-rcpt-to'), ['<bob@b.example>']);
    assert.deepEqual(only('authentication-results'), ['gw1.example.net; auth=none smtp.auth=bob@web-17']);
    assert.deepEqual(only('x-postern-id'), ['01HZX3V9Q00000A1']);
    assert.deepEqual(report.header.get('to'), ['abuse@example.com']);
    assert.deepEqual(report.header.get('auto-submitted'), ['auto-generated']);
    assert.match(report.text, /198\.51\.100\.7 \(web-17\) sent as bob/);
    assert.ok(writer.mark.isIn(own.bytes.toString('latin1')), 'it has our mark');
  });

  test('a header alone, or nothing of the message: what is there is said', async () => {
    const header = await reportOf({ class: 'virus.found' }, copyOf('From: a@a.example\r\nSubject: x\r\n', false));
    assert.equal(header.report.third, 'text/rfc822-headers');
    assert.equal(header.report.quoted, 'From: a@a.example\r\nSubject: x\r\n');
    const none = await reportOf({
      class: 'spam.gtube',
      sender: 'hash:0123',
      recipients: [{ recipient: '', code: 250, class: 'accepted.clean' }],
    });
    assert.equal(none.report.third, 'text/rfc822-headers');
    assert.match(
      none.report.quoted,
      /^Received: from host\.example \(\[198\.51\.100\.7\]\)\r\n\tby gw1\.example\.net \(Postern\) with ESMTP id 01HZX3V9Q00000A1;\r\n\t/,
    );
    for (const field of ['original-mail-from', 'original-rcpt-to', 'reported-domain'])
      assert.equal(none.report.fields.get(field), undefined, field);
  });

  test('whatever a stranger typed, each field is one line of ASCII and the parts stay three', async () => {
    const nasty = 'a\r\nFeedback-Type: not-spam\r\n\r\n--x\u2028\u202e\u001b[31m"\\\0';
    const change = {
      helo: nasty,
      identity: nasty,
      sender: `${nasty}@a.example`,
      findings: [finding(nasty, nasty, nasty)],
    };
    const { report } = await reportOf({
      class: 'spam.rspamd',
      ...change,
      recipients: [{ recipient: nasty, code: 250, class: 'accepted.clean' }],
    });
    assert.deepEqual(report.fields.get('feedback-type'), ['abuse']);
    // Quoted-printable, in UTF-8.
    const octets = report.text
      .replace(/=\r\n/g, '')
      .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
    const text = Buffer.from(octets, 'latin1').toString('utf8');
    assert.match(text, /Finding: a Feedback-Type: not-spam --x/, 'it is there, on one line');
    assert.doesNotMatch(text.replace(/\r\n/g, ''), /[\p{Cc}\p{Zl}\p{Cf}]/u);
  });

  test('the account is who it is behind the subscriber, and the subscriber', () => {
    assert.equal(accountOf('198.51.100.7', undefined), '198.51.100.7');
    assert.equal(accountOf('198.51.100.7', 'bob'), 'bob@198.51.100.7');
    assert.equal(accountOf('@web-17', 'bob@shop.example'), 'bob@shop.example');
  });
});

test('what is no spam, fraud or virus is not reported', () => {
  for (const of of [
    'limit.messages',
    'locked.subscriber',
    'header.from-missing',
    'virus.unscanned',
    'upstream.reply',
    'auth.spf',
  ] as const)
    assert.equal(feedbackOf(of, []), undefined, of);
});

test('Shows 3: 1,000 refusals in a minute yield the capped number plus one digest with the right count', () => {
  let nowMs = 500_000 * HOUR_MS;
  const full: Reported[] = [];
  const digests: Digest[] = [];
  const reports = new Reports({
    nowMs: () => nowMs,
    perHour: () => 10,
    report: (one) => full.push(one) > 0,
    digest: (one) => void digests.push(one),
  });
  for (let i = 0; i < 1000; i++) {
    nowMs += 60;
    const change = {
      id: `a${i}`,
      class: i % 4 === 0 ? 'spam.score' : 'spam.gtube',
      identity: i % 2 === 0 ? 'bob' : undefined,
    } as const;
    reports.refused({ subject: '198.51.100.7', type: 'abuse', attempt: refusal(change), copy: undefined });
    reports.tend();
  }
  reports.refused({ subject: '198.51.100.8', type: 'abuse', attempt: refusal({}), copy: undefined });
  assert.equal(full.length, 11, 'ten of the one, and the one of the other');
  assert.equal(digests.length, 0, 'while the hour is not over');
  assert.equal(reports.untold, 990);
  nowMs += HOUR_MS;
  reports.tend();
  reports.tend();
  assert.equal(digests.length, 1);
  const [{ more, reported, byClass, byIdentity, lastId } = {} as Digest] = digests;
  assert.deepEqual({ more, reported, lastId }, { more: 990, reported: 10, lastId: 'a999' });
  assert.deepEqual(byClass, { 'spam.gtube': 743, 'spam.score': 247 });
  assert.deepEqual(byIdentity, { bob: 495 });
  reports.refused({ subject: '198.51.100.7', type: 'abuse', attempt: refusal({}), copy: undefined });
  assert.equal(full.length, 12, 'another hour, another report');
});

function outgoing() {
  const [clock, log] = [testClock(), logbook()];
  const handed: Handing[] = [];
  const state = { isThere: true };
  const out = new Outgoing({ clock, log, hand: (mail) => state.isThere && handed.push(mail) > 0 });
  const own = (size = 10): OwnMail => ({ to: 'abuse@example.com', bytes: Buffer.alloc(size, 'x') });
  return { clock, log, handed, state, out, own };
}

test('a mail of ours is tried again ever later, and given up in the end: counted, logged, never without end', () => {
  const { clock, log, handed, out, own } = outgoing();
  out.put(own());
  for (let tries = 1; tries < 12; tries++) {
    assert.equal(handed.length, tries);
    out.answered({ mail: handed.at(-1)?.mail ?? 0, code: tries % 2 === 0 ? 451 : 0, reason: 'upstream.down' });
    out.tend();
    assert.equal(handed.length, tries, 'not at once');
    clock.forward(31 * 60_000);
    out.tend();
  }
  const waits = log.entries
    .filter(({ event }) => event === 'report.failed')
    .map(({ fields }) => Number(fields['retryMs']) / 60_000);
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]);
  out.answered({ mail: handed.at(-1)?.mail ?? 0, code: 451, reason: 'upstream.reply' });
  assert.deepEqual([out.sent, out.dropped], [0, 1]);
  assert.ok(log.events().includes('report.dropped'));
});

test('taken is taken, a refusal for good is no reason to try again, silence is a failure, and too many are dropped', () => {
  const { clock, handed, state, out, own } = outgoing();
  state.isThere = false;
  for (let i = 0; i < 510; i++) out.put(own());
  assert.deepEqual([out.dropped, handed.length], [10, 0], 'bounded while there is no worker');
  state.isThere = true;
  out.tend();
  assert.equal(handed.length, 4, 'few at a time');
  const [a, b, c, d] = handed.map(({ mail }) => mail);
  out.answered({ mail: a ?? 0, code: 250, reason: '' });
  out.answered({ mail: a ?? 0, code: 250, reason: 'twice' });
  out.answered({ mail: b ?? 0, code: 550, reason: 'upstream.reply' });
  assert.deepEqual([out.sent, out.dropped], [1, 11]);
  clock.forward(16 * 60_000);
  out.tend();
  assert.ok(
    handed.every(({ mail }, i) => i < 4 || (mail !== c && mail !== d)),
    'those without an answer wait their time',
  );
  out.close();
  assert.equal(out.sent + out.dropped, 510, 'each is accounted for');
  const large = outgoing();
  for (let i = 0; i < 20; i++) large.out.put(large.own(1024 * 1024));
  assert.equal(large.out.dropped, 4, 'bounded in size');
});

test('a mark is known again wherever in a header it stands, and nobody else can make one', () => {
  const [ours, other] = [new Mark(), new Mark()];
  const header = (word: string): string => `Received: x\r\nX-Postern-Report: ${word}\r\nFrom: a@a.example\r\n`;
  assert.ok(ours.isIn(header(ours.make())));
  assert.ok(!ours.isIn(header(other.make())));
  assert.ok(!ours.isIn(header(`${'0'.repeat(24)}.${'0'.repeat(64)}`)));
});
