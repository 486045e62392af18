/** Who it is behind a subscriber: every kind of rule, in order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type IdentityRule, parseIdentityRule } from '../../../src/config/identity-rule.ts';
import { type Evidence, identityOf } from '../../../src/identity/extract.ts';

function rules(...texts: string[]): IdentityRule[] {
  return texts.map((text) => {
    const rule = parseIdentityRule(text);
    assert.ok(!('expected' in rule), text);
    return rule;
  });
}

const fields = [
  { name: 'received', value: ' from x by y; Mon' },
  { name: 'received', value: ' from [192.0.2.1] (Authenticated sender: bob@a.example) by mx' },
  { name: 'x-php-originating-script', value: ' 1001:mailer.php(12) : eval()' },
  { name: 'x-authuser', value: '  Bob ' },
  { name: 'x-empty', value: ' ' },
];
const evidence: Evidence = { sender: '<Info@A.example>', helo: 'Web1.A.example', fields: () => fields };

for (const [texts, expected] of [
  [[], undefined],
  [['sender'], 'info@a.example'],
  [['helo'], 'web1.a.example'],
  [['header X-AuthUser'], 'Bob'],
  [['header X-PHP-Originating-Script ^(.*?)\\('], '1001:mailer.php'],
  [['header Received \\(Authenticated sender: (.*?)\\)'], 'bob@a.example'],
  [['header Received Authenticated .*? by'], 'Authenticated sender: bob@a.example) by'],
  [['header X-None', 'header X-Empty', 'header X-AuthUser ^(z)', 'helo', 'sender'], 'web1.a.example'],
] as const)
  test(`${texts.join(', ') || 'no rule'} finds ${expected}`, () =>
    assert.equal(identityOf(rules(...texts), evidence), expected));

test('a bounce is from nobody; a message that is not looked into has no header', () => {
  assert.equal(identityOf(rules('sender'), { ...evidence, sender: '<>' }), undefined);
  assert.equal(identityOf(rules('header X-AuthUser', 'helo'), { ...evidence, fields: undefined }), 'web1.a.example');
});

test('what is found is short and has no controls; a value without end names nobody', () => {
  const of = (value: string): string | undefined =>
    identityOf(rules('header X-A'), { ...evidence, fields: () => [{ name: 'x-a', value }] });
  assert.equal(of('a\tb\x7fc'), 'a b c');
  assert.equal(of('x'.repeat(200))?.length, 128);
  assert.equal(of('x'.repeat(5000)), undefined);
});

test('a pattern that another matcher would never end with ends at once', () => {
  const started = process.cpuUsage();
  const value = `${'a'.repeat(4000)}!`;
  const found = identityOf(rules('header X-A ^(?:a+)+$', 'sender'), {
    ...evidence,
    fields: () => [{ name: 'x-a', value }],
  });
  assert.equal(found, 'info@a.example');
  assert.ok(process.cpuUsage(started).user < 20_000_000);
});

for (const bad of [
  '',
  'Sender',
  'header',
  'header a:b',
  'header X-A (',
  'header X-A (a)(b)',
  'header X-A (?=a)',
  'header X-A (a)\\1',
  7,
])
  test(`${JSON.stringify(bad)} is no rule`, () => assert.ok('expected' in parseIdentityRule(bad)));
