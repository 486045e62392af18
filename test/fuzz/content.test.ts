/** 41: messages and archives in which octets were changed, left out or repeated: taken apart without an error, and soon. */
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Budget } from '../../src/filter/archive/budget.ts';
import { listArchive } from '../../src/filter/archive/list.ts';
import { inspect } from '../../src/filter/inspect.ts';
import { kindOf } from '../../src/filter/kind.ts';
import { chooseSignatures } from '../../src/filter/signatures.ts';
import { BUNZIPS, named, rarOf, SEVEN_ZIPS, tarOf, zipOf } from '../kit/archives.ts';
import { messageOf } from '../kit/mail.ts';
import { survives } from '../kit/mutated.ts';

const LIMITS = { parts: 1000, depth: 50, fields: 1000, headerBytes: 256 * 1024 };

const files = [
  { name: 'a/b.txt', content: 'hello '.repeat(100) },
  { name: 'c.zip', content: zipOf([{ name: 'd.exe', content: 'MZ' }]) },
];
const tar = tarOf(files);
const ARCHIVES = [
  zipOf(files),
  tar,
  gzipSync(tar),
  rarOf(4, 'x.exe', true),
  rarOf(5, 'x.exe', true),
  ...Object.values(SEVEN_ZIPS),
  ...Object.values(BUNZIPS),
];
const MESSAGES = [
  named('a.zip', ARCHIVES[0] as Buffer),
  [
    'DKIM-Signature: v=1; a=rsa-sha256; l=5; c=relaxed/simple; h=from',
    'Content-Type: multipart/mixed; boundary*0="b"; boundary*1*=utf-8\'\'%62',
    '',
    '--bb',
    'Content-Type: message/rfc822',
    '',
    'Content-Type: text/html; charset=utf-16',
    'Content-Transfer-Encoding: quoted-printable',
    '',
    '=3Ca href=3D"http://a.example/&#x41;&amp;">=?utf-8?q?x=3D?= <!-- <style>a</style>--> <p title=\'x',
    '--bb--',
    '',
  ].join('\r\n'),
].map((text) => Buffer.from(text, 'latin1'));

test('Shows 3: 41: archives of each kind', (t) =>
  survives(t.diagnostic.bind(t), ARCHIVES, { cases: 4000, minutes: 15 }, (bytes) => {
    listArchive(bytes, kindOf(bytes), ['x'], new Budget());
  }));

test('Shows 3: 41: messages: parts, names, text, links, header fields, signatures', (t) =>
  survives(t.diagnostic.bind(t), MESSAGES, { cases: 3000, minutes: 20 }, (bytes) => {
    inspect(bytes, LIMITS, false);
    messageOf(bytes).fields();
    chooseSignatures(bytes, true);
  }));
