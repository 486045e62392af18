/** 41: messages and archives in which octets were changed, left out or repeated: taken apart without an error, and soon. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Budget } from '../../src/filter/archive/budget.ts';
import { listArchive } from '../../src/filter/archive/list.ts';
import { inspect } from '../../src/filter/inspect.ts';
import { kindOf } from '../../src/filter/kind.ts';
import { chooseSignatures } from '../../src/filter/signatures.ts';
import { BUNZIPS, named, rarOf, SEVEN_ZIPS, tarOf, zipOf } from '../kit/archives.ts';
import { messageOf } from '../kit/mail.ts';
import { type Random, randomFrom } from '../kit/random.ts';
import { count, seed } from '../kit/tier.ts';

const MAX_MS = 1000;
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

/** A few octets changed, and sometimes a piece left out, repeated, or put elsewhere. */
function mutated(good: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(good);
  for (let changes = 1 + random.below(6); changes > 0 && bytes.length > 0; changes--) {
    const at = random.below(bytes.length);
    const to = Math.min(bytes.length, at + random.below(40));
    const kind = random.below(6);
    if (kind < 2) bytes[at] = random.below(256);
    else if (kind === 2) bytes[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, 10, 34, 45, 61]);
    else if (kind === 3) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
    else if (kind === 4) bytes = Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)]);
    else bytes.copy(bytes, random.below(bytes.length), at, to);
  }
  return bytes;
}

function soon(good: readonly Buffer[], cases: number, look: (bytes: Buffer) => void): void {
  const random = randomFrom(seed);
  for (let i = 0; i < cases; i++) {
    const bytes = mutated(random.pick(good), random);
    const before = process.cpuUsage();
    try {
      look(bytes);
    } catch (error) {
      throw new Error(`seed ${seed}, ${bytes.toString('base64')}`, { cause: error });
    }
    const { user, system } = process.cpuUsage(before);
    const tookMs = (user + system) / 1000;
    assert.ok(tookMs < MAX_MS, `${tookMs} ms of CPU, seed ${seed}, ${bytes.toString('base64')}`);
  }
}

test('Shows 3: 41: archives of each kind', () => {
  soon(ARCHIVES, count(4000, 1_000_000), (bytes) => {
    listArchive(bytes, kindOf(bytes), ['x'], new Budget());
  });
});

test('Shows 3: 41: messages: parts, names, text, links, header fields, signatures', () => {
  soon(MESSAGES, count(3000, 500_000), (bytes) => {
    inspect(bytes, LIMITS, false);
    messageOf(bytes).fields();
    chooseSignatures(bytes, true);
  });
});
