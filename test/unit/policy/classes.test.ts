import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { classesPage } from '../../../src/cli/classes.ts';
import { type Class, type ClassEntry, classes, isClass } from '../../../src/policy/classes.ts';
import { verdictOf } from '../../../src/policy/verdict.ts';

const entries = Object.entries(classes) as [Class, ClassEntry][];

/** A session that ended without a message has nothing to refuse. */
const isSuccess = (name: string): boolean =>
  name.startsWith('accepted.') || ['session.no-message', 'tls.opaque'].includes(name);

/** The codes that RFC 5321 section 4.2.3, RFC 1870 and RFC 7504 know for a refusal. */
const REFUSALS = [421, 450, 451, 452, 500, 501, 502, 503, 504, 521, 550, 551, 552, 553, 554, 555, 556];

test('every class has a name, a code, a status and sentences of the agreed form', () => {
  assert.ok(entries.length > 40);
  for (const [name, { code, detail, text, doc }] of entries) {
    assert.match(name, /^[a-z]+\.[a-z0-9]+(-[a-z0-9]+)*$/, name);
    assert.ok(isSuccess(name) ? code === 250 : REFUSALS.includes(code), `${name}: ${code}`);
    // RFC 3463 section 2: subject 0 to 7, detail 0 to 999.
    assert.match(detail, /^[0-7]\.\d{1,3}$/, name);
    assert.match(text, /^[\x20-\x7e]{5,120}$/, name);
    assert.doesNotMatch(text, /[[\]]|\.$/, `${name}: brackets follow the text, and no full stop before them`);
    assert.match(doc, /^\S.*\.$/, `${name}: a sentence for the operator`);
  }
});

test('5xx stands only where a retry cannot help', () => {
  // What frees itself, is mended by us or by the far side, or ends the session only.
  const passes = [
    /^(?:behaviour|upstream|limit|error|session)\./,
    /^locked\.deferred$/,
    /^auth\.unknown$/,
    /^spam\.rspamd-(?:soft|greylist)$/,
    /^protocol\.(?:talks-first|errors|other)$/,
    /^tls\.(?:handshake|client-refused|verifying|clear|required|alone)$/,
  ];
  for (const [name, { code }] of entries) {
    if (isSuccess(name)) continue;
    assert.equal(
      code < 500,
      passes.some((pattern) => pattern.test(name)),
      `${name}: ${code}`,
    );
  }
});

test('a copy is kept only of what a filter judged and what does no harm when it is let go', () => {
  const kept = entries.filter(([, { quarantine }]) => quarantine);
  assert.ok(kept.length > 0);
  const never = /^(?:accepted|protocol|body|virus|limit|locked|network|upstream|session|error)\./;
  for (const [name, { code }] of kept) assert.ok(code >= 500 && !never.test(name), name);
});

test('a status that RFC 3463 knows for one thing only is used for that', () => {
  for (const [status, code] of Object.entries({
    '4.6': 'body.loop',
    '3.4': 'body.size',
    '6.7': 'body.smtputf8',
    '5.3': 'limit.recipients',
  })) {
    assert.deepEqual(
      entries.filter(([, { detail }]) => detail === status).map(([name]) => name),
      [code],
    );
  }
});

test('the verdict follows from the code', () => {
  assert.deepEqual(verdictOf('accepted.clean'), { kind: 'accept', class: 'accepted.clean' });
  assert.deepEqual(verdictOf('upstream.down'), { kind: 'defer', class: 'upstream.down' });
  assert.deepEqual(verdictOf('limit.connections'), { kind: 'defer', class: 'limit.connections' });
  assert.deepEqual(verdictOf('spam.gtube'), { kind: 'reject', class: 'spam.gtube' });
});

test('a class is one of the table, and nothing that every object has', () => {
  assert.ok(isClass('spam.gtube'));
  for (const none of ['', 'spam', 'toString', 'constructor', '__proto__', 'spam.gtube '])
    assert.ok(!isClass(none), none);
});

test('docs/classes.md is what the table says (npm run golden writes it)', () => {
  const path = join(import.meta.dirname, '../../../docs/classes.md');
  if (process.env['POSTERN_UPDATE_GOLDEN'] === '1') writeFileSync(path, classesPage());
  assert.equal(readFileSync(path, 'utf8'), classesPage());
});
