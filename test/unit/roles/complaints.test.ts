/** Complaints that come in: whose message it was, that it counts once, and what rules make of it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { readComplaint } from '../../../src/complaint/read.ts';
import { shortHash } from '../../../src/kit/ids.ts';
import type { Complaint } from '../../../src/ledger/complaints.ts';
import type { Lock, Step, Who } from '../../../src/ledger/language.ts';
import { composeArf } from '../../../src/record/arf.ts';
import { Mark } from '../../../src/record/own-mail.ts';
import type { LogAnswer } from '../../../src/record/query.ts';
import { configIn, makePlace, type Stage, stageKeeper } from '../../kit/keeper.ts';
import { freePort } from '../../kit/worker.ts';
import { until } from '../../kit/wait.ts';
import { attempt } from '../ledger/sample.ts';

const ID = '1M89ZHJCJ2EYQETB';
const GATEWAY = 'gw1.example.net';
const TRACE = (id: string, gateway = GATEWAY): string =>
  `Received: from a.example ([198.51.100.7])\r\n\tby ${gateway} (Postern) with ESMTP id ${id};\r\n\tFri, 02 Jan 2026 03:04:05 +0000\r\n`;
const MESSAGE = 'Message-ID: <1@a.example>\r\nFrom: alice@a.example\r\nSubject: You have won\r\n\r\nmoney\r\n';
const forwarded = (part: string, head = 'Content-Type: message/rfc822\r\n'): string =>
  `${TRACE('0000000000000000')}From: user@b.example\r\nSubject: Fwd\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nthis is spam\r\n--b\r\n${head}\r\n${part}\r\n--b--\r\n`;

/** A report as other people's servers make them. */
const feedback = (third: string, type = 'abuse', more = ''): string =>
  `From: fbl@mail.example\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: ${type}\r\nUser-Agent: Some/1\r\nVersion: 1\r\n${more}\r\n--x\r\n${third}\r\n--x--\r\n`;

test('what a complaint says is found however it comes: attached, quoted, encoded, as a report', () => {
  const found = (mail: string): readonly [string | undefined, string | undefined] => {
    const { id, messageId } = readComplaint(mail, GATEWAY);
    return [id, messageId];
  };
  const both = [ID, '<1@a.example>'] as const;
  const whole = TRACE(ID) + MESSAGE;
  assert.deepEqual(found(forwarded(whole)), both, 'attached');
  const base64 = Buffer.from(whole).toString('base64').replace(/.{76}/g, '$&\r\n');
  assert.deepEqual(
    found(forwarded(base64, 'Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n')),
    both,
    'encoded',
  );
  assert.deepEqual(found(forwarded(forwarded(whole).replace(/^Received:[^]*?\+0000\r\n/, ''))), both, 'sent on twice');
  const quoted = whole.replace(/^/gm, '> ');
  assert.deepEqual(found(`Subject: Fwd\r\n\r\nspam:\r\n${quoted}`), both, 'quoted');
  assert.deepEqual(
    found(feedback(`Content-Type: text/rfc822-headers\r\n\r\n${whole}`)),
    both,
    'a report with a header',
  );
  assert.deepEqual(
    found(`${TRACE(ID)}Message-ID: <2@b.example>\r\nSubject: hello\r\n\r\nno message here\r\n`),
    [undefined, undefined],
    'its own header says nothing',
  );
  assert.deepEqual(
    found(forwarded(TRACE(ID) + TRACE('0000000000000000') + MESSAGE)),
    both,
    'a host can have put others below',
  );
  assert.deepEqual(
    found(forwarded(TRACE(ID, 'gw2.example.net') + MESSAGE)),
    [undefined, '<1@a.example>'],
    "another gateway's",
  );
});

test("our line is one of its own at the message's head: what a host writes elsewhere is nobody's id", () => {
  const idOf = (mail: string): string | undefined => readComplaint(mail, GATEWAY).id;
  const OTHER = '1M89ZHJCJ2EYQETC';
  const words = `by ${GATEWAY} (Postern) with ESMTP id ${OTHER}`;
  const path = `Return-Path: <"${words}"@evil.example>\r\n`;
  const above = `Received: from gw1.example.net\r\n\tby mx.example (MX) for <"${words}"@evil.example>;\r\n\tFri, 02 Jan 2026 03:04:06 +0000\r\n`;
  assert.equal(idOf(forwarded(path + above + TRACE(ID) + MESSAGE)), ID, 'what stands above it');
  assert.equal(idOf(forwarded(path + above + MESSAGE)), undefined, 'no line of ours');
  assert.equal(idOf(forwarded(`${MESSAGE}\r\n${TRACE(OTHER)}`)), undefined, 'in a body');
  const first = `Content-Type: text/plain\r\n\r\n${TRACE(OTHER)}\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n${TRACE(ID)}${MESSAGE}`;
  assert.equal(idOf(feedback(first)), ID, 'in a text before the message');
  const cut = `Content-Type: text/rfc822-headers\r\n\r\n${MESSAGE}\r\n${TRACE(OTHER)}`;
  assert.equal(idOf(feedback(cut)), undefined, 'in a header with its body');
  const own = `Reporting-MTA: dns; ${GATEWAY}\r\nX-Postern-Id: ${ID}\r\n`;
  assert.equal(
    idOf(feedback(`Content-Type: message/rfc822\r\n\r\n${TRACE(OTHER)}${MESSAGE}`, 'abuse', own)),
    ID,
    'in what a report of ours quotes',
  );
  assert.equal(idOf(`Subject: Fwd\r\n\r\n> ${path}> ${words}\r\n`), undefined, 'in a text that is quoted');
  const html = (TRACE(ID) + MESSAGE).replace(/</g, '&lt;').replace(/\r\n/g, '<br>\r\n');
  assert.equal(idOf(`Content-Type: text/html\r\n\r\n<div dir="ltr">${html}</div>`), ID, 'quoted as HTML');
});

test('a report says what about, from where, when and by whom', () => {
  const more =
    'Source-IP: 198.51.100.7\r\nArrival-Date: Fri, 02 Jan 2026 03:04:05 +0000\r\nOriginal-Mail-From: <alice@a.example>\r\n';
  const { type, source, arrivedMs, sender } = readComplaint(
    feedback(`Content-Type: message/rfc822\r\n\r\n${MESSAGE}`, 'FRAUD', more),
    GATEWAY,
  );
  assert.deepEqual(
    { type, source, arrivedMs, sender },
    { type: 'fraud', source: '198.51.100.7', arrivedMs: Date.UTC(2026, 0, 2, 3, 4, 5), sender: 'alice@a.example' },
  );
  assert.equal(readComplaint(feedback('', 'opt-out'), GATEWAY).type, 'other');
  assert.equal(readComplaint('Subject: x\r\n\r\ny', GATEWAY).type, 'abuse');
});

test('whatever comes is read in bounded time: parts in parts, boundaries that begin each other, no end anywhere', () => {
  const nested = Array.from(
    { length: 200 },
    (_, i) => `Content-Type: multipart/mixed; boundary=b${i}\r\n\r\n--b${i}\r\n`,
  ).join('');
  const many = `Content-Type: multipart/mixed; boundary=b\r\n\r\n${'--b\r\n\r\nx\r\n'.repeat(50_000)}`;
  const folded = `X: y\r\n${' z\r\n'.repeat(100_000)}\r\n`;
  const startMs = performance.now();
  for (const mail of [
    nested,
    many,
    folded,
    '> '.repeat(500_000),
    '='.repeat(1_000_000),
    `Content-Type: text/html\r\n\r\n${'<br'.repeat(300_000)}`,
    '',
  ])
    readComplaint(mail, GATEWAY);
  assert.ok(performance.now() - startMs < 20_000, 'usually a fifth of a second');
});

async function journalled(s: Stage, count: number): Promise<void> {
  while (!new RegExp(`^postern_journal_rows_total ${count}$`, 'm').test(await s.metrics())) await setImmediate();
}

async function stage(t: TestContext, more: string): Promise<{ s: Stage; dir: string }> {
  const place = makePlace();
  place.write({ journal: `keep = "3650d"\n${more}` });
  const s = await stageKeeper(undefined, place);
  t.after(() => s.close());
  return { s, dir: place.dir };
}

/** Says it all over one connection, each line when the one before is answered. */
async function lmtp(port: number, mail: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let heard = '';
  socket.setEncoding('latin1').on('data', (text: string) => (heard += text));
  const lines = [
    'LHLO mx.example.net',
    'MAIL FROM:<>',
    'RCPT TO:<abuse@example.net>',
    'DATA',
    `${mail.replace(/^\./gm, '..')}\r\n.`,
    'QUIT',
  ];
  const replies = (): number => heard.split('\r\n').filter((line) => /^\d{3} /.test(line)).length;
  for (const [i, line] of lines.entries()) {
    await until(() => replies() === i + 1 || socket.closed, `an answer to line ${i}: ${heard}`, 60_000);
    socket.write(Buffer.from(`${line}\r\n`, 'latin1'));
  }
  if (!socket.closed) await once(socket, 'close');
  return heard;
}

const LADDER = `[[step_rule]]
name = "complaints"
classes = ["complaint"]
share = 40
least = 2
within = "1d"
mode = "block"
[[lock_rule]]
name = "one"
classes = ["complaint.fraud"]
count = 1
within = "1d"
`;

test('Shows 3: a report of ours that is sent back finds its message and moves the ladder', async (t) => {
  const port = await freePort();
  const { s } = await stage(t, `${LADDER}[complaints]\nlisten = "127.0.0.1:${port}"\n`);
  const worker = s.worker(1);
  await worker.ready;
  const at = Date.now() - 3_600_000;
  const sent = [ID, '1M89ZHJCJ2EYQETC'].map((id) =>
    attempt({ id, at, verdict: 'reject', class: 'spam.gtube', messageHash: shortHash(`<${id}@a.example>`) }),
  );
  for (const one of sent) worker.record(one);
  await journalled(s, 2);
  const reportOf = async (i: number): Promise<string> => {
    const own = await composeArf(
      { from: 'postern@example.net', gateway: GATEWAY, mark: new Mark() },
      {
        to: 'abuse@example.net',
        type: 'abuse',
        attempt: sent[i] ?? attempt(),
        subject: '198.51.100.7',
        copy: undefined,
        version: '1',
        helpUrl: 'https://x.example/',
        nowMs: at,
      },
    );
    return own.bytes.toString('latin1');
  };
  const steps = async (): Promise<readonly Step[]> => (await s.ask({ of: 'steps' })) as readonly Step[];
  const first = await reportOf(0);
  assert.match(await lmtp(port, first), /^250 /m);
  assert.match(await lmtp(port, first), /^250 /m);
  assert.deepEqual(await steps(), [], 'the same twice counts once');
  assert.match(await lmtp(port, await reportOf(1)), /^250 /m);
  const [step] = await steps();
  assert.deepEqual(
    [step?.subject, step?.mode, step?.who, step?.evidence],
    ['198.51.100.7', 'block', 'rule complaints', [ID, '1M89ZHJCJ2EYQETC']],
  );
  const told = (await s.ask({ of: 'complaints', limit: 10 })) as readonly Complaint[];
  assert.deepEqual(
    told.map(({ type, how, id, source, counts, via }) => [type, how, id, source, counts, via]),
    [
      ['abuse', 'id', '1M89ZHJCJ2EYQETC', '198.51.100.7', true, 'lmtp'],
      ['abuse', 'id', ID, '198.51.100.7', false, 'lmtp'],
      ['abuse', 'id', ID, '198.51.100.7', true, 'lmtp'],
    ],
  );
  assert.equal(((await s.ask({ of: 'complaints', limit: 10, id: ID })) as readonly Complaint[]).length, 2);
  assert.match(await s.metrics(), /^postern_complaints_total\{type="abuse",found="yes"\} 3$/m);
  await worker.close();
});

test('by Message-ID, by envelope, or not at all, which all count for nothing: whom the address belonged to at that time is known anyhow', async (t) => {
  const rules = `${LADDER}[[subscriber]]\nname = "web-1"\nprefixes = ["198.51.100.7"]\n`;
  const { s, dir } = await stage(t, rules);
  const worker = s.worker(1);
  await worker.ready;
  const at = Date.UTC(2026, 0, 2, 3, 4, 5);
  worker.record(attempt({ id: ID, at, subscriber: 'web-1', messageHash: shortHash('<1@a.example>') }));
  worker.record(attempt({ id: '1M89ZHJCJ2EYQETC', at: at + 86_400_000, subscriber: 'web-2' }));
  await journalled(s, 2);
  const byMessage = (await s.ask({ of: 'log', filter: { messageId: '<1@a.example>', limit: 9 } })) as LogAnswer;
  assert.deepEqual(
    byMessage.rows.map(({ id }) => id),
    [ID],
  );
  const who = async (address: string, atMs: number): Promise<Who> =>
    (await s.ask({ of: 'who', address, at: atMs })) as Who;
  assert.deepEqual(await who('198.51.100.7', at + 60_000), {
    address: '198.51.100.7',
    at: at + 60_000,
    network: 'customers',
    subscriber: 'web-1',
    attempt: { id: ID, at },
  });
  assert.equal((await who('198.51.100.7', at + 2 * 86_400_000)).subscriber, 'web-2');
  assert.deepEqual(await who('198.51.100.77', at), {
    address: '198.51.100.77',
    at,
    network: 'customers',
    subscriber: 'quiet',
  });
  assert.deepEqual(await who('192.0.2.77', at), { address: '192.0.2.77', at });

  const box = join(dir, 'Maildir');
  for (const name of ['new', 'cur', 'tmp']) mkdirSync(join(box, name), { recursive: true });
  const more = (sender: string, source = '198.51.100.7'): string =>
    `Source-IP: ${source}\r\nArrival-Date: Fri, 02 Jan 2026 03:06:05 +0000\r\nOriginal-Mail-From: <${sender}>\r\n`;
  writeFileSync(join(box, 'new', '1'), feedback(`Content-Type: message/rfc822\r\n\r\n${MESSAGE}`, 'fraud'));
  writeFileSync(join(box, 'new', '2'), feedback('', 'abuse', more('alice@a.example')));
  writeFileSync(join(box, 'new', '3'), feedback('', 'abuse', more('mallory@a.example')));
  writeFileSync(join(box, 'new', '4'), feedback('', 'not-spam', more('x@a.example', '198.51.100.77')));
  s.place.write({ journal: `keep = "3650d"\n${rules}[complaints]\nmaildir = "${box}"\n` });
  s.keeper.apply(await configIn(s.place));
  let told: readonly Complaint[] = [];
  while (told.length < 4) told = (await s.ask({ of: 'complaints', limit: 10 })) as readonly Complaint[];
  assert.equal(readdirSync(join(box, 'cur')).length, 4);
  assert.deepEqual(
    told.map(({ type, how, id, subscriber, counts }) => [type, how, id, subscriber, counts]),
    [
      ['not-spam', undefined, undefined, 'quiet', false],
      ['abuse', undefined, undefined, 'web-1', false],
      ['abuse', 'envelope', ID, 'web-1', false],
      ['fraud', 'message-id', ID, 'web-1', false],
    ],
  );
  assert.deepEqual(await s.ask({ of: 'locks' }), []);
  await worker.close();
});

test('by our id it counts about what was accepted; the id of a refused message is no proof that anybody got it', async (t) => {
  const port = await freePort();
  const { s } = await stage(t, `${LADDER}[complaints]\nlisten = "127.0.0.1:${port}"\n`);
  const worker = s.worker(1);
  await worker.ready;
  const REFUSED = '1M89ZHJCJ2EYQETC';
  const at = Date.now() - 3_600_000;
  worker.record(attempt({ id: REFUSED, at, verdict: 'reject', class: 'spam.gtube' }));
  worker.record(attempt({ id: ID, at }));
  await journalled(s, 2);
  const about = (id: string): string => feedback(`Content-Type: message/rfc822\r\n\r\n${TRACE(id)}${MESSAGE}`, 'fraud');
  assert.match(await lmtp(port, about(REFUSED)), /^250 /m);
  assert.deepEqual(await s.ask({ of: 'locks' }), []);
  assert.match(await lmtp(port, about(ID)), /^250 /m);
  const [lock] = (await s.ask({ of: 'locks' })) as readonly Lock[];
  assert.deepEqual([lock?.subject, lock?.who, lock?.evidence], ['198.51.100.7/32', 'rule one', [ID]]);
  const told = (await s.ask({ of: 'complaints', limit: 10 })) as readonly Complaint[];
  assert.deepEqual(
    told.map(({ id, how, counts }) => [id, how, counts]),
    [
      [ID, 'id', true],
      [REFUSED, 'id', false],
    ],
  );
  await worker.close();
});

test('where the journal keeps no names, a complaint locks no identity, and no subscriber instead of one', async (t) => {
  const port = await freePort();
  const rule = (lock: string): string =>
    `[[lock_rule]]\nname = "${lock}"\nclasses = ["complaint"]\ncount = 1\nwithin = "1d"\nlock = "${lock}"\n`;
  const rules = rule('identity') + rule('subscriber');
  const { s } = await stage(t, `${rules}[complaints]\nlisten = "127.0.0.1:${port}"\n`);
  const worker = s.worker(1);
  await worker.ready;
  const at = Date.now() - 3_600_000;
  const sources = [
    ['discreet', '203.0.113.5'],
    ['silent', '203.0.113.133'],
    ['customers', '198.51.100.7'],
  ] as const;
  for (const [i, [network, source]] of sources.entries())
    worker.record(attempt({ id: `1M89ZHJCJ2EYQET${i}`, at, network, source, identity: 'bob' }));
  await journalled(s, 3);
  for (const i of sources.keys())
    assert.match(await lmtp(port, forwarded(TRACE(`1M89ZHJCJ2EYQET${i}`) + MESSAGE)), /^250 /m);
  const locks = (await s.ask({ of: 'locks' })) as readonly Lock[];
  assert.deepEqual(locks.map(({ subject, identity = '-', who }) => `${subject} ${identity} ${who}`).toSorted(), [
    '198.51.100.7/32 - rule subscriber',
    '198.51.100.7/32 bob rule identity',
    '203.0.113.133/32 - rule subscriber',
    '203.0.113.5/32 - rule subscriber',
  ]);
  await worker.close();
});

test('who may not send complaints is turned away', async (t) => {
  const port = await freePort();
  await stage(t, `[complaints]\nlisten = "127.0.0.1:${port}"\nfrom = ["192.0.2.0/24"]\n`);
  const socket = connect(port, '127.0.0.1');
  let heard = '';
  socket
    .setEncoding('latin1')
    .on('data', (text: string) => (heard += text))
    .on('error', () => {});
  await once(socket, 'close');
  assert.match(heard, /^554 /);
});
