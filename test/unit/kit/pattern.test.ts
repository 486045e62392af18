import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pattern } from '../../../src/kit/pattern.ts';

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
    assert.ok(performance.now() - startMs < 1000, `${performance.now() - startMs} ms`);
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
      assert.ok(performance.now() - startMs < 500, `${source}: ${performance.now() - startMs} ms`);
    }
  }
});
