import assert from 'node:assert/strict';
import { test } from 'node:test';
import { words } from '../../../src/lab/words.ts';

test('a line is split as a shell does it', () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['', []],
    ['  \t ', []],
    [' mail  customer\t', ['mail', 'customer']],
    [
      'lock 198.51.100.10 --reason "my ticket" --for 1h',
      ['lock', '198.51.100.10', '--reason', 'my ticket', '--for', '1h'],
    ],
    ["log --sender '<>'", ['log', '--sender', '<>']],
    [`--reason="a b"c' d'`, ['--reason=a bc d']],
    [`"" ''`, ['', '']],
    [`"it's" 'say "x"'`, ["it's", 'say "x"']],
    [String.raw`a\ b "\"\\\n" '\' \'`, ['a b', String.raw`"\\n`, '\\', "'"]],
    ['end\\', ['end\\']],
  ];
  for (const [line, expected] of cases) assert.deepEqual(words(line), expected, line);
});

test('a quote that is not closed is said, with the line', () => {
  assert.throws(() => words('lock 198.51.100.10 --reason "my ticket'), /no second " in: lock 198/);
  assert.throws(() => words("log --sender '<>"), /no second '/);
});
