/**
 * max_connections over two workers: exactly so many of a source are admitted, whichever worker they come to, and the next
 * one is told 421. What ends, in whatever way, makes room.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { PLACES } from '../../src/lab/network.ts';
import { type Holder, hold } from '../kit/idle.ts';
import { needsRoot } from '../kit/tier.ts';
import { startWhole, type Whole } from '../kit/whole.ts';

/** so many that all of them on one worker would be a miracle */
const LIMIT = 24;

describe('max_connections over two workers', { skip: needsRoot }, () => {
  let whole: Whole;
  before(async () => {
    whole = await startWhole({
      hosts: ['2001:db8:1::20'],
      tables: {
        network: `max_connections = ${LIMIT}`,
        intercept: 'connection_rate = "1000/s"\nconnection_burst = 1000',
      },
    });
  });
  after(() => whole.close());

  const holding = (connections: number, to: string, ...sources: readonly string[]) =>
    hold(whole.network.inside, connections, to, sources);

  const [first, second] = PLACES.hosts;
  const FULL = /^421 4\.7\.0 Too many connections from this source at once \[limit\.connections id=/;

  test('exactly so many of one source, and another source has its own', async () => {
    const one = await holding(2 * LIMIT, PLACES.direct.v4, first.v4);
    assert.deepEqual([one.open, one.refused], [LIMIT, LIMIT]);
    assert.match(one.first, FULL);
    const none = await holding(3, PLACES.direct.v4, first.v4);
    assert.deepEqual([none.open, none.refused], [0, 3]);
    const other = await holding(LIMIT + 1, PLACES.direct.v4, second.v4);
    assert.deepEqual([other.open, other.refused], [LIMIT, 1]);
    assert.equal(await one.end(), LIMIT);
    assert.equal(await other.end(), LIMIT);
    await none.end();
  });

  test('what has ended makes room, all of it', async () => {
    for (let round = 0; round < 3; round++) {
      const again = await free(() => holding(LIMIT + 1, PLACES.direct.v4, first.v4));
      assert.deepEqual([again.open, again.refused], [LIMIT, 1], `round ${round}`);
      await again.end();
    }
  });

  test('IPv6: a /64 is one source', async () => {
    const both = await holding(2 * LIMIT, PLACES.direct.v6, first.v6, '2001:db8:1::20');
    assert.deepEqual([both.open, both.refused], [LIMIT, LIMIT]);
    assert.match(both.first, FULL);
    await both.end();
  });

  test('a worker that dies takes its connections out of the count, and no more', async () => {
    const held = await free(() => holding(LIMIT, PLACES.direct.v4, first.v4));
    assert.equal(held.open, LIMIT);
    const before = whole.processes();
    const pid = before.get('postern: worker 1') as number;
    process.kill(pid, 'SIGKILL');
    while (!replaced(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
    const more = await holding(2 * LIMIT, PLACES.direct.v4, first.v4);
    const left = await held.end();
    assert.ok(left > 0 && left < LIMIT, `${left} of ${LIMIT} were with the other worker`);
    assert.equal(left + more.open, LIMIT, `${left} were left, ${more.open} came`);
    await more.end();
  });

  function replaced(pid: number): boolean {
    const now = whole.processes().get('postern: worker 1');
    return now !== undefined && now !== pid;
  }

  /** The end of the connections before has to pass from the workers to the keeper: asked again until it has. */
  async function free(open: () => Promise<Holder>): Promise<Holder> {
    for (;;) {
      const holder = await open();
      if (holder.open === LIMIT) return holder;
      await holder.end();
    }
  }
});
