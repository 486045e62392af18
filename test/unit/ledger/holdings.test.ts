import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Holdings } from '../../../src/ledger/holdings.ts';

test('of too many sources with something unused, the one that has had it longest gives it back', () => {
  const holdings = new Holdings();
  for (const source of ['a', 'b', 'c']) {
    holdings.told(source, 2);
    assert.ok(holdings.takeUnused(source));
  }
  assert.deepEqual(holdings.takeBeyond(3), []);
  assert.deepEqual(holdings.takeBeyond(2), [{ source: 'a', count: 1 }]);
  assert.deepEqual(holdings.takeBeyond(2), []);
  assert.equal(holdings.held('a'), 1);
  // "a" is the last one now.
  holdings.drop('a');
  assert.deepEqual(holdings.takeBeyond(2), [{ source: 'b', count: 1 }]);
});

test('one that is wholly in use has nothing to give back, and makes room all the same', () => {
  const holdings = new Holdings();
  holdings.told('busy', 1);
  holdings.takeUnused('busy');
  holdings.told('idle', 1);
  assert.deepEqual(holdings.takeBeyond(1), []);
  assert.deepEqual(holdings.takeBeyond(1), []);
  holdings.drop('busy');
  assert.deepEqual(holdings.takeBeyond(1), [{ source: 'idle', count: 1 }]);
  assert.ok(holdings.takeUnused('busy'));
});

test('what was not needed from one sweep to the next goes back', () => {
  const holdings = new Holdings();
  holdings.told('a', 3);
  assert.deepEqual(holdings.sweep(), []);
  assert.ok(holdings.takeUnused('a'));
  holdings.drop('a');
  assert.deepEqual(holdings.sweep(), [{ source: 'a', count: 2 }]);
  assert.deepEqual(holdings.sweep(), [{ source: 'a', count: 1 }]);
  assert.ok(!holdings.takeUnused('a'));
});
