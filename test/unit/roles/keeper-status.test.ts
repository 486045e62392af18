/** Ways round and problems, from what the keeper holds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../../src/config/load.ts';
import { statusOf } from '../../../src/roles/keeper-status.ts';
import { kernelReport } from '../ledger/sample.ts';

const MODES = ['enforce', 'observe', 'exempt', 'block', 'smarthost-only'];

test('fail = "open" is a way round, and a prefix may have been seen, only where something is intercepted', async () => {
  const networks = MODES.map(
    (mode, i) => `[[network]]\nname = "${mode}"\nprefixes = ["198.51.100.${i}/32"]\nmode = "${mode}"\nfail = "open"\n`,
  );
  const loaded = await parseConfig(
    `[gateway]\nname = "gw1.example.net"\n[intercept]\ninside = ["lan0"]\n[smarthost]\nservers = ["192.0.2.25:587"]\n${networks.join('')}`,
    'test.toml',
  );
  assert.ok(loaded.ok);
  const status = statusOf({
    ...{
      version: '0',
      config: loaded.config,
      startedAt: 0,
      uptimeMs: 0,
      nowMs: 0,
      workers: [],
      locks: 0,
      verifying: 0,
      lastSeenAt: (prefix: string) => (prefix === '198.51.100.0/32' ? 7 : undefined),
      steps: [],
      configErrors: 0,
    },
    kernel: { report: kernelReport(), atMs: 0 },
    kernelAgeMs: 0,
    metrics: { upstream: () => [], services: () => [], sessionsOpen: () => 0, workers: new Map() },
    held: { connections: 0, sources: 0 },
    journal: {
      ok: true,
      problem: undefined,
      path: '',
      oldest: undefined,
      written: 0,
      dropped: 0,
      waiting: 0,
      sizeBytes: 0,
    },
  });
  assert.deepEqual(status.waysRound.failOpen, ['enforce', 'observe']);
  assert.deepEqual(status.waysRound.missingInterfaces, []);
  assert.equal(status.problem, undefined);
  assert.deepEqual(status.prefixes, [
    { prefix: '198.51.100.0/32', network: 'enforce', lastSeenAt: 7 },
    { prefix: '198.51.100.1/32', network: 'observe', lastSeenAt: undefined },
  ]);
});
