/** Every fault in the text in one run, and nothing invented where only one is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { readToml } from '../../../src/config/syntax.ts';
import { seed } from '../../kit/tier.ts';

test('a text without fault is read as it is', () => {
  const { data, faults, text } = readToml('a = 1\n[t]\nb = ["x"]\n');
  assert.deepEqual(faults, []);
  assert.equal(JSON.stringify(data), '{"a":1,"t":{"b":["x"]}}');
  assert.equal(text, 'a = 1\n[t]\nb = ["x"]\n');
});

// One statement with a fault that is noticed on its own line or at the next statement.
const faulty = [
  'bad = gw1',
  'bad = "gw1',
  "bad = 'gw1",
  'bad = [1, 2',
  'bad = [\n"x",\n  "y",',
  'bad = ["x" "y"]',
  'bad = { x = 1',
  'bad',
  'bad 2',
  'bad: 2',
  '= 2',
  'bad = ',
  'bad = 1 2',
  'bad = "\\q"',
  'bad = 01',
  'bad = True',
  'good0 = 2',
];

for (const statement of faulty) {
  test(`one fault between good statements is one fault: ${JSON.stringify(statement)}`, () => {
    const text = `good0 = 1\n\n${statement}\ngood1 = "x"\n[table]\ngood2 = [\n  "y",\n]\n`;
    const { data, faults } = readToml(text);
    assert.deepEqual(
      faults.map(({ line }) => line >= 3 && line < 3 + statement.split('\n').length),
      [true],
      JSON.stringify(faults),
    );
    assert.equal(JSON.stringify(data), '{"good0":1,"good1":"x","table":{"good2":["y"]}}');
  });
}

test('several faults are each found on their line, in any combination', () => {
  // What follows an open bracket may be part of the list, so those are for the tests above.
  const single = faulty.filter((statement) => !/\n|\[1|\{/.test(statement) && statement !== 'good0 = 2');
  fc.assert(
    fc.property(fc.array(fc.option(fc.constantFrom(...single)), { minLength: 1, maxLength: 12 }), (statements) => {
      const text = statements.map((statement, i) => statement ?? `good${i} = "x"`).join('\n\n');
      const expected = statements.flatMap((statement, i) => (statement === null ? [] : [2 * i + 1]));
      const { faults, data } = readToml(`${text}\n\nlast = 1\n`);
      assert.deepEqual(
        faults.map(({ line }) => line).toSorted((a, b) => a - b),
        expected,
        text,
      );
      assert.equal(Object.keys(data).length, statements.length - expected.length + 1);
    }),
    { seed, numRuns: 500 },
  );
});

test('a header that cannot be read takes its keys with it', () => {
  for (const header of ['[table', '[[table]', '[]', '[table] x', '[good]']) {
    const { data, faults } = readToml(`[good]\na = 1\n${header}\na = 2\nb = 3\n[other]\nc = 4\n`);
    assert.deepEqual(
      faults.map(({ line }) => line),
      [3],
      header,
    );
    assert.equal(JSON.stringify(data), '{"good":{"a":1},"other":{"c":4}}', header);
  }
});

test('more than 20 faults are cut to 20', () => {
  assert.equal(readToml('bad = gw1\n'.repeat(100)).faults.length, 20);
});

test('a list with a fault in it is left out whole, since the rest of it says something else', () => {
  const { data, faults } = readToml('a = [\n  "x",\n  gw1,\n]\nb = 1\n');
  assert.deepEqual(
    faults.map(({ line }) => line),
    [3],
  );
  assert.equal(JSON.stringify(data), '{"b":1}');
});
