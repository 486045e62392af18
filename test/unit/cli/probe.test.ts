/** `postern probe`: hop after hop. Over a real router in lab/probe. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { traceTo } from '../../../src/cli/probe.ts';
import type { Hop } from '../../../src/kit/hop.ts';

test('a hop that is silent is asked once more, for routers do not answer everything', async () => {
  const passed: Hop = { kind: 'passed', by: '192.0.2.1' };
  const answers: Hop[] = [{ kind: 'silent' }, passed, { kind: 'silent' }, { kind: 'silent' }, { kind: 'open' }];
  const asked: number[] = [];
  const hops = await traceTo(async (hop) => {
    asked.push(hop);
    return answers.shift() as Hop;
  }, 30);
  assert.deepEqual(asked, [1, 1, 2, 2, 3]);
  assert.deepEqual(hops, [passed, { kind: 'silent' }, { kind: 'open' }]);
});
