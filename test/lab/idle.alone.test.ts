import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { after, before, describe, test } from 'node:test';
import { PLACES } from '../../src/lab/network.ts';
import { hold } from '../kit/idle.ts';
import { count, needsRoot } from '../kit/tier.ts';
import { residentBytes, startWhole, type Whole } from '../kit/whole.ts';

const MAIL = fileURLToPath(new URL('../kit/mail-main.ts', import.meta.url));

/** So many that none comes near max_connections. */
const SOURCES = Array.from({ length: 64 }, (_, i) => `198.51.100.${20 + i}`);
const HELD = 10_000;
const MAX_MORE_BYTES = 150 * 1024 * 1024;
/** Or ten times what it is without them, on a machine that is busy. */
const MAX_P99_MS = 500;

describe('Shows 6: many idle connections', { skip: needsRoot }, () => {
  let whole: Whole;
  before(async () => {
    // One host sends all the mail here; how fast one source may connect is not what is asked.
    whole = await startWhole({ hosts: SOURCES, tables: { intercept: 'connection_rate = "10000/s"' } });
  });
  after(() => whole.close());

  test(`Shows 6: ${HELD} idle connections from ${SOURCES.length} sources cost at most 150 MB, and mail flows`, async (t) => {
    // One round of mail first: what is loaded and compiled at the first message is no cost of idle connections.
    await mail(200);
    const without = p99Of((await mail(200)).ms);
    const beforeBytes = residentBytes(whole.processes().values());
    const holder = await hold(whole.network.inside, HELD, PLACES.direct.v4, SOURCES);
    assert.deepEqual({ open: holder.open, refused: holder.refused }, { open: HELD, refused: 0 }, holder.first);
    const moreBytes = residentBytes(whole.processes().values()) - beforeBytes;
    const { accepted, other, ms } = await mail(count(500, 5000));
    assert.deepEqual(other, []);
    assert.equal(accepted, ms.length);
    const p99 = p99Of(ms);
    t.diagnostic(
      `${HELD} idle: ${(moreBytes / 2 ** 20).toFixed(0)} MiB more; mail p99 ${p99.toFixed(0)} ms, ${without.toFixed(0)} before`,
    );
    assert.equal(await holder.end(), HELD, 'all were still open');
    assert.ok(moreBytes <= MAX_MORE_BYTES, `${moreBytes} bytes more`);
    assert.ok(p99 < Math.max(MAX_P99_MS, 10 * without), `p99 ${p99} ms, ${without} before`);
  });

  test('Shows 6: at 80 % of the descriptors new connections get 421, and the others go on', async () => {
    const before = whole.processes();
    for (const worker of ['postern: worker 1', 'postern: worker 2']) {
      await whole.network.gateway.run('prlimit', ['--pid', String(before.get(worker)), '--nofile=300:300']);
    }
    // A worker reads its limit when it starts, and inherits it from the supervisor.
    await whole.network.gateway.run('prlimit', ['--pid', String(whole.gateway.pid), '--nofile=300:300']);
    for (const worker of ['postern: worker 1', 'postern: worker 2'])
      process.kill(before.get(worker) as number, 'SIGKILL');
    const holder = await hold(whole.network.inside, 600, PLACES.direct.v4, SOURCES);
    assert.ok(holder.open >= 300 && holder.open <= 480, `${holder.open} of 600 open`);
    assert.match(holder.first, /^421 4\.3\.2 .*\[limit\.descriptors id=/);
    assert.equal(await holder.end(), holder.open, 'those that were open stayed open');
    assert.deepEqual((await mail(20)).other, [], 'mail flows again');
  });

  const p99Of = (ms: readonly number[]): number => ms.toSorted((a, b) => a - b)[Math.floor(ms.length * 0.99)] as number;

  async function mail(messages: number): Promise<{ accepted: number; other: string[]; ms: number[] }> {
    const ran = await whole.network.inside.run(
      process.execPath,
      [MAIL, PLACES.direct.v4, '25', String(messages), '5', '198.51.100.10'],
      { deadlineMs: 300_000 },
    );
    assert.equal(ran.code, 0, ran.stderr);
    return JSON.parse(ran.stdout) as { accepted: number; other: string[]; ms: number[] };
  }
});
