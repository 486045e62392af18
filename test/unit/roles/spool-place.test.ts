import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { warnUnlessInMemory } from '../../../src/roles/spool-place.ts';
import { logbook } from '../../kit/logbook.ts';

const EXT4 = 0xef53;
const TMPFS = 0x01021994;

test('a spool directory on a disk is warned of, with what to do; one in memory is not', async () => {
  const log = logbook();
  await warnUnlessInMemory('/run/postern/spool', log, () => Promise.resolve(TMPFS));
  assert.equal(log.entries.length, 0);
  await warnUnlessInMemory('/srv/spool', log, () => Promise.resolve(EXT4));
  assert.deepEqual(log.events(), ['spool.on-disk']);
  const fields = await log.seen('spool.on-disk');
  assert.equal(fields['dir'], '/srv/spool');
  assert.match(String(fields['do']), /gateway\.run_dir .* tmpfs/);
});

test('what the kernel says is believed: /dev/shm is in memory, /proc is not; one that is not there ends nobody', async () => {
  const log = logbook();
  await warnUnlessInMemory('/dev/shm', log);
  assert.deepEqual(log.events(), []);
  await warnUnlessInMemory('/proc', log);
  await warnUnlessInMemory('/nowhere/spool', log);
  assert.deepEqual(log.events(), ['spool.on-disk', 'spool.not-there']);
});

test('a worker looks at its spool directory when it starts', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'postern-spool-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const config = join(dir, 'postern.toml');
  writeFileSync(
    config,
    `[gateway]\nname = "gw1.example.net"\nrun_dir = "${dir}/run"\nstate_dir = "${dir}"\n[intercept]\ninside = ["lan0"]\n` +
      '[smarthost]\nservers = ["127.0.0.1:9"]\ntls = "none"\n[[network]]\nname = "a"\nprefixes = ["198.51.100.0/24"]\n',
  );
  const main = join(import.meta.dirname, '../../../src/main.ts');
  // It is given no listener and ends: what is asked for here comes before.
  const child = spawn(process.execPath, [main, 'worker', '--config', config, '--index', '1'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.after(() => child.kill('SIGKILL'));
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (line.includes('"event":"spool.not-there"')) break;
  }
  assert.match(lines.at(-1) ?? '', /"event":"spool\.not-there","dir":"[^"]*\/run\/[^"]*"/);
});
