/** 41: reports that others wrote, reports that are ours whatever the host said, and the tags of signatures. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { readComplaint } from '../../src/complaint/read.ts';
import { composeArf } from '../../src/record/arf.ts';
import { type Copy, MAX_COPY_BYTES } from '../../src/record/events.ts';
import { Mark } from '../../src/record/own-mail.ts';
import { readReport } from '../kit/arf.ts';
import { survives } from '../kit/mutated.ts';
import { attempt } from '../unit/ledger/sample.ts';

const GATEWAY = 'gw1.example.net';
const writer = { from: 'postern@example.net', gateway: GATEWAY, mark: new Mark() };
const QUOTED = Buffer.from(
  [
    `Received: from host.example ([198.51.100.7])`,
    `\tby ${GATEWAY} (Postern) with ESMTP id 01HZX3V9Q00000A1;`,
    '\tTue, 14 Nov 2023 22:13:20 +0000',
    'Message-ID: <1@a.example>',
    'Subject: caf\xe9',
    '',
    '--b',
    '.x',
    '',
  ].join('\r\n'),
  'latin1',
);

function reportOf(quoted: Buffer, words: string, isWhole: boolean): ReturnType<typeof composeArf> {
  const copy: Copy = {
    kind: 'copy',
    id: '01HZX3V9Q00000A1',
    isWhole,
    octets: quoted.subarray(0, MAX_COPY_BYTES).toString('base64'),
  };
  // A path has come through the reader of MAIL and RCPT.
  const local = words.replace(/[<>]/g, '');
  const refused = attempt({
    class: 'spam.gtube',
    verdict: 'reject',
    sender: `${local}@a.example`,
    identity: words,
    recipients: [{ recipient: `${local}@b.example`, code: 550, class: 'spam.gtube' }],
    findings: [{ filter: 'rules', name: words, score: 1, evidence: words }],
  });
  return composeArf(writer, {
    ...{ to: 'abuse@example.com', type: 'abuse', attempt: refused, subject: '@web-17', copy },
    ...{ version: '0.1.0', helpUrl: 'https://help.example/', nowMs: Date.now() },
  });
}

test('Shows 3: 41: complaints, which strangers write', async (t) => {
  const report = await reportOf(QUOTED, 'bob', true);
  const forwarded = Buffer.concat([Buffer.from('From: c@c.example\r\nContent-Type: message/rfc822\r\n\r\n'), QUOTED]);
  return survives(t.diagnostic.bind(t), [report.bytes, forwarded], { cases: 3000, minutes: 5 }, (bytes) => {
    readComplaint(bytes.toString('latin1'), GATEWAY);
  });
});

/** As the body reader lets it through: CR and LF only together, no NUL, and at the end of a line at last. */
function asTaken(bytes: Buffer): Buffer {
  const lines = bytes.toString('latin1').split('\r\n');
  return Buffer.from(lines.map((line) => `${line.replace(/[\r\n\0]/g, '')}\r\n`).join(''), 'latin1');
}

test('Shows 3: 41: a report is sound whatever it quotes, and comes back as the message that it is about', (t) =>
  survives(t.diagnostic.bind(t), [QUOTED], { cases: 300, minutes: 5 }, async (changed, random) => {
    const bytes = asTaken(changed);
    const words = bytes.toString('latin1', 0, random.below(200));
    const own = (await reportOf(bytes, words, random.oneIn(2))).bytes.toString('latin1');
    const { fields } = readReport(own);
    assert.deepEqual(fields.get('x-postern-id'), ['01HZX3V9Q00000A1']);
    const { type, source, arrivedMs } = readComplaint(own, GATEWAY);
    assert.deepEqual([type, source, arrivedMs], ['abuse', '198.51.100.7', 1_700_000_000_000]);
  }));

const SIGNATURES = [
  'DKIM-Signature: v=1; a=rsa-sha256; l=5; c=relaxed/simple; d=a.example; s=k; h=from:to;\r\n bh=YQ==; b=YWFh\r\n YWFh',
  'ARC-Authentication-Results: i=1; gw1.example.net; spf=pass (a "b" (c)) smtp.mailfrom="a@a.example"',
  'DNS: TXT; v=DKIM1; k=rsa; t=s:y; p=YWFh',
].map((text) => Buffer.from(text));

test('Shows 3: 41: tags of signatures, as mailauth reads them', (t) => {
  const load = createRequire(import.meta.url);
  const tagsOf = load('mailauth/lib/parse-dkim-headers.js') as (field: string) => object;
  return survives(t.diagnostic.bind(t), SIGNATURES, { cases: 3000, minutes: 5 }, (bytes) => {
    tagsOf(bytes.toString('latin1'));
  });
});
