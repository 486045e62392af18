import assert from 'node:assert/strict';
import { test } from 'node:test';
import { removal } from '../../../src/guard/remove.ts';
import { emptyKernel, kernelWith, oneNetwork, planOf, withChain } from './kernel.fake.ts';

const there = kernelWith(await planOf(oneNetwork('customers', ['198.51.100.0/24'])));

test('nothing of ours: nothing to remove', () => assert.deepEqual(removal(emptyKernel), []));

test('tables go first, then sets, the routing rules last; all of ours and nothing else is named', () => {
  const foreign = '-p tcp -m tcp --dport 22 -j ACCEPT';
  const jump = '-p tcp -j POSTERN-INPUT';
  const steps = removal(withChain(there, [4, 'filter', 'INPUT'], () => [foreign, jump]));
  assert.deepEqual(
    steps.map(({ kind }) => kind),
    ['tables', 'tables', 'sets', 'routing', 'routing'],
  );
  const text = steps.map((step) => (step.kind === 'sysctl' ? '' : step.text)).join('');
  assert.match(text, /^-D INPUT -p tcp -j POSTERN-INPUT$/m);
  assert.doesNotMatch(text, /dport 22/);
  for (const name of ['POSTERN-PREROUTING', 'POSTERN-N-customers', 'POSTERN-OUTPUT']) {
    assert.match(text, new RegExp(`^-F ${name}\\n`, 'm'));
    assert.match(text, new RegExp(`^-X ${name}\\n`, 'm'));
  }
  for (const name of there.sets.keys()) assert.match(text, new RegExp(`^destroy ${name}$`, 'm'));
  assert.doesNotMatch(text, /^(:|-A|-I|create|add|rule add)/m);
});

test('a chain in a table that no plan of ours uses goes, too', () => {
  const family = there.families.get(4);
  assert.ok(family);
  const nat = new Map([['POSTERN-OLD', []]]);
  const kernel = {
    ...emptyKernel,
    families: new Map([[4 as const, { tables: new Map([['nat', nat]]), rules: [], routes: [] }]]),
  };
  assert.deepEqual(removal(kernel), [
    {
      kind: 'tables',
      family: 4,
      because: ['ipv4 nat POSTERN-OLD'],
      text: '*nat\n-F POSTERN-OLD\n-X POSTERN-OLD\nCOMMIT\n',
    },
  ]);
});
