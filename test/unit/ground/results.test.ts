import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Results } from '../../results.ts';

test('results have a row for each test of a line of "Shows", in the order of the lines, and count everything', () => {
  const results = new Results();
  const details = { duration_ms: 1234 };
  results.add('test:pass', { name: 'Shows 10: later', nesting: 0, details });
  results.add('test:pass', { name: 'Shows 2: no way | round', nesting: 1, details });
  results.add('test:fail', { name: 'Shows 2: also', nesting: 0, details });
  results.add('test:pass', { name: 'Shows 8: units', nesting: 0, details, skip: 'needs root' });
  results.add('test:pass', { name: 'something else', nesting: 0, details });
  // A suite is no result of its own, and what is only announced is none yet.
  results.add('test:fail', { name: 'Shows 2', nesting: 0, details: { ...details, type: 'suite' } });
  results.add('test:start', { name: 'Shows 3: begun', nesting: 0 });
  const text = results.text('42', ['some machine']);
  assert.match(text, /^- some machine\n- Seed 42\n- In all: 3 passed, 1 failed, 1 skipped$/m);
  assert.deepEqual(
    text.split('\n').filter((line) => /^\| \d/.test(line)),
    [
      '| 2 | Shows 2: also | FAILED | 1.2 |',
      '| 2 | Shows 2: no way \\| round | passed | 1.2 |',
      '| 8 | Shows 8: units | skipped: needs root | 1.2 |',
      '| 10 | Shows 10: later | passed | 1.2 |',
    ],
  );
});
