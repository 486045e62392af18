import assert from 'node:assert/strict';
import { test } from 'node:test';
import { folded, Pattern } from '../../../src/kit/pattern.ts';

function compiled(source: string): Pattern {
  const pattern = Pattern.compile(source);
  assert.ok(pattern instanceof Pattern, `${source}: ${JSON.stringify(pattern)}`);
  return pattern;
}

test('finds what it is to find, and catches what its first group says', () => {
  assert.ok(compiled('(?i)casino\\d+').test('the CASINO42 mail'));
  assert.ok(!compiled('casino\\d+').test('the CASINO42 mail'));
  assert.equal(compiled('^(.*?)\\(.*$').capture('1000:send.php(12) : eval'), '1000:send.php');
  assert.equal(compiled('[a-z]+').capture('42 abc'), 'abc');
  assert.equal(compiled('x(y)?').capture('ax'), undefined, 'a group that caught nothing');
  assert.equal(compiled('x').capture('abc'), undefined);
});

test('what cannot be matched in linear time, or is no pattern, is refused in a few words', () => {
  for (const source of ['(?=a)', '(a)\\1', '(', 'a{2000}', 'x'.repeat(1001), '((\\w{1,30}){1,30}){1,9}'])
    assert.match((Pattern.compile(source) as { fault: string }).fault, /^.{5,100}$/, source);
});

test('(a+)+$ on 1 MB of a is done in under 1 s', () => {
  const pattern = compiled('(a+)+$');
  const text = 'a'.repeat(1 << 20);
  for (const one of [text, `${text}b`]) {
    const startMs = performance.now();
    pattern.test(one);
    assert.ok(performance.now() - startMs < 20_000, `${performance.now() - startMs} ms`);
  }
});

test('40: hostile patterns on hostile texts of 100 kB take time in proportion to both', () => {
  // Each takes a backtracking matcher years.
  for (const source of [
    '(x+x+)+y',
    '(.*)*z',
    '([a-zA-Z]+)*$',
    '(a|aa)+$',
    '^(([a-z])+.)+[A-Z]([a-z])+$',
    '(\\w*\\s*)*!',
  ]) {
    const pattern = compiled(source);
    for (const text of ['x'.repeat(100_000), 'a'.repeat(100_000), 'ab '.repeat(33_000)]) {
      const startMs = performance.now();
      pattern.test(text);
      assert.ok(performance.now() - startMs < 10_000, `${source}: ${performance.now() - startMs} ms`);
    }
  }
});

test('a word that every match must have is found, and never one that a match can do without', () => {
  const required = (source: string): string => compiled(source).required;
  assert.equal(required('(?i)You have (won|lost) a PRIZE'), 'you have ');
  assert.equal(required('^https?://[^/]+\\.zip/'), '.zip/');
  assert.equal(required('colou?r'), 'colo');
  assert.equal(required('ab{0,2}cd{3}ef'), 'ef');
  assert.equal(required('a+bc*'), 'a');
  for (const none of ['a|b', '[abc]def|x', '(abc)', '\\x41bc|d', '\\Qa|b\\E', '.*', '\\d+'])
    assert.equal(required(none), '', none);
});

test('what a pattern finds has its required word, whatever the case', () => {
  const kelvin = compiled('(?i)\u006bey\u0073');
  for (const text of ['KEYS', '\u212aey\u017f', 'keys']) {
    assert.ok(kelvin.test(text), text);
    assert.ok(folded(text).includes(kelvin.required), text);
  }
});
