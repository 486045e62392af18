/** The queue in which hosts wait for a worker is as long as it was opened. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { needsRoot } from '../../kit/tier.ts';
import { startWhole, type Whole } from '../../kit/whole.ts';

let whole: Whole;
before(async () => {
  if (needsRoot) return;
  whole = await startWhole();
});
after(async () => {
  if (needsRoot) return;
  await whole.close();
});

test('a worker keeps the length of the queue of its listeners', { skip: needsRoot }, async () => {
  const { stdout } = await whole.network.gateway.run('ss', ['-ltnH', 'sport = :2525']);
  const lengths = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(/\s+/)[2]);
  assert.deepEqual(lengths, ['4096', '4096', '4096', '4096']);
});
