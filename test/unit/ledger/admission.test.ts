import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Admission } from '../../../src/ledger/admission.ts';
import { seed } from '../../kit/tier.ts';

const a = { worker: 1 };
const b = { worker: 2 };

test('the limit holds over all workers together', () => {
  const admission = new Admission();
  assert.deepEqual(
    [admission.admit(a, 's', 3), admission.admit(b, 's', 3), admission.admit(a, 's', 3), admission.admit(b, 's', 3)],
    [true, true, true, false],
  );
  assert.equal(admission.admit(b, 'other', 3), true);
  admission.release(a, 's', 1);
  assert.equal(admission.admit(b, 's', 3), true);
  assert.equal(admission.admit(a, 's', 3), false);
});

test('a worker that dies takes its counts with it, and only its own', () => {
  const admission = new Admission();
  for (let i = 0; i < 5; i++) admission.admit(a, 's', 10);
  admission.admit(b, 's', 10);
  admission.forget(a);
  assert.equal(admission.connections, 1);
  admission.forget(a);
  assert.equal(admission.connections, 1);
  admission.forget(b);
  assert.deepEqual([admission.connections, admission.sources], [0, 0]);
});

test('what a worker declares after a reconnect counts, over the limit too', () => {
  const admission = new Admission();
  admission.hold(a, 's', 7);
  assert.equal(admission.admit(b, 's', 5), false);
  for (let i = 0; i < 3; i++) admission.release(a, 's', 1);
  assert.equal(admission.admit(b, 's', 5), true);
});

test('a release that was never held takes nothing from another worker', () => {
  const admission = new Admission();
  admission.admit(a, 's', 1);
  admission.release(b, 's', 1);
  admission.release(a, 'never', 1);
  assert.equal(admission.connections, 1);
  assert.equal(admission.admit(b, 's', 1), false);
});

test('any order of admit, hold, release, forget leaves what a plain list of connections says', () => {
  const holders = [a, b, { worker: 3 }];
  const step = fc.record({
    do: fc.constantFrom('admit', 'hold', 'release', 'forget'),
    who: fc.constantFrom(0, 1, 2),
    source: fc.constantFrom('s', 't'),
    count: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const admission = new Admission();
      let open: { who: number; source: string }[] = [];
      for (const { do: what, who, source, count } of steps) {
        const holder = holders[who] as object;
        if (what === 'admit') {
          const expected = open.filter((one) => one.source === source).length < 4;
          assert.equal(admission.admit(holder, source, 4), expected);
          if (expected) open.push({ who, source });
        } else if (what === 'hold') {
          admission.hold(holder, source, 1);
          open.push({ who, source });
        } else if (what === 'release') {
          admission.release(holder, source, count);
          for (let i = 0; i < count; i++) {
            const at = open.findIndex((one) => one.who === who && one.source === source);
            if (at >= 0) open.splice(at, 1);
          }
        } else {
          admission.forget(holder);
          open = open.filter((one) => one.who !== who);
        }
        assert.equal(admission.connections, open.length);
        assert.equal(admission.sources, new Set(open.map((one) => one.source)).size);
      }
    }),
    { seed, numRuns: 200 },
  );
});
