import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Privacy } from '../../../src/record/privacy.ts';
import { type Logbook, logbook } from '../../kit/logbook.ts';
import { attempt } from '../ledger/sample.ts';

let dir: string;
let keyPath: string;
let log: Logbook;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'privacy-'));
  keyPath = join(dir, 'privacy.key');
  log = logbook();
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** An attempt that names its people wherever a gateway could. */
const telling = attempt({
  sender: '<Alice@a.example>',
  recipients: [
    { recipient: '<bob@b.example>', code: 250, class: 'accepted.clean' },
    { recipient: '<carol@b.example>', code: 550, class: 'upstream.reply' },
  ],
  reply: '550 5.1.1 <bob@b.example> is unknown, says Alice@a.example',
  upstreamReply: '550-5.1.1 <carol@b.example> is unknown',
  findings: [{ filter: 'header', name: 'from', score: 1, evidence: 'From: Alice@a.example' }],
});
const people = /alice|bob|carol/i;

test('full keeps everything, without the brackets', () => {
  const kept = new Privacy(keyPath, log).apply(telling, 'full');
  assert.equal(kept.sender, 'Alice@a.example');
  assert.deepEqual(
    kept.recipients.map(({ recipient }) => recipient),
    ['bob@b.example', 'carol@b.example'],
  );
  assert.equal(kept.reply, telling.reply);
  assert.deepEqual(readdirSync(dir), []);
});

for (const keeping of ['hash', 'none'] as const) {
  test(`${keeping} names nobody, anywhere in the event, and keeps codes, classes and sizes`, () => {
    const kept = new Privacy(keyPath, log).apply(telling, keeping);
    assert.doesNotMatch(JSON.stringify(kept), people);
    assert.equal(kept.reply, '550 5.1.1');
    assert.equal(kept.upstreamReply, '550-5.1.1');
    assert.deepEqual(kept.findings, [{ filter: 'header', name: 'from', score: 1, evidence: '' }]);
    assert.deepEqual(
      kept.recipients.map(({ code, class: of }) => [code, of]),
      [
        [250, 'accepted.clean'],
        [550, 'upstream.reply'],
      ],
    );
    assert.equal(kept.source, telling.source);
    assert.equal(kept.sizeBytes, telling.sizeBytes);
  });
}

test('none leaves nothing of an address; a reply without codes leaves nothing either', () => {
  const kept = new Privacy(keyPath, log).apply({ ...telling, reply: 'bob is unknown' }, 'none');
  assert.deepEqual([kept.sender, kept.recipients[0]?.recipient, kept.reply], ['', '', '']);
});

test('the null sender and "no sender" are no addresses', () => {
  const privacy = new Privacy(keyPath, log);
  for (const keeping of ['full', 'hash', 'none'] as const) {
    assert.equal(privacy.apply(attempt({ sender: '<>' }), keeping).sender, '<>');
    assert.equal(privacy.apply(attempt({ sender: undefined }), keeping).sender, undefined);
  }
  assert.deepEqual(privacy.words('<>'), ['<>']);
});

test('the same address has the same hash in any spelling of case and brackets, over restarts, and can be asked for', () => {
  const first = new Privacy(keyPath, log).apply(telling, 'hash').sender as string;
  assert.match(first, /^hash:[0-9a-f]{24}$/);
  const again = new Privacy(keyPath, log);
  assert.equal(again.apply(attempt({ sender: 'aLICE@A.example' }), 'hash').sender, first);
  assert.deepEqual(again.words('<Alice@a.example>'), ['Alice@a.example', first]);
  assert.deepEqual(again.words(first), [first]);
  assert.notEqual(again.apply(attempt({ sender: 'bob@b.example' }), 'hash').sender, first);
});

test("another key gives other hashes; the key is the owner's alone", () => {
  const first = new Privacy(keyPath, log).apply(telling, 'hash').sender;
  assert.equal(statSync(keyPath).mode & 0o777, 0o600);
  assert.match(readFileSync(keyPath, 'latin1'), /^[0-9a-f]{64}\n$/);
  rmSync(keyPath);
  assert.notEqual(new Privacy(keyPath, log).apply(telling, 'hash').sender, first);
});

test('a damaged key is kept aside and said; one that cannot be made leaves addresses out until it can', () => {
  writeFileSync(keyPath, 'abc');
  const damaged = new Privacy(keyPath, log);
  assert.match(String(damaged.apply(telling, 'hash').sender), /^hash:/);
  assert.deepEqual(log.events(), ['privacy.key-damaged']);
  assert.deepEqual(readdirSync(dir).sort(), ['privacy.key', 'privacy.key.damaged']);

  rmSync(keyPath);
  mkdirSync(`${keyPath}.new`);
  const unable = new Privacy(keyPath, log);
  const kept = unable.apply(telling, 'hash');
  assert.equal(kept.sender, '');
  assert.doesNotMatch(JSON.stringify(kept), people);
  assert.deepEqual(log.events().slice(1), ['privacy.no-key']);
  rmdirSync(`${keyPath}.new`);
  assert.match(String(unable.apply(telling, 'hash').sender), /^hash:/);
});
