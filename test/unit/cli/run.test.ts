import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const MAIN = join(import.meta.dirname, '../../../src/main.ts');

test('without a configuration, "run" says what to do as "check" does', () => {
  const missing = join(tmpdir(), `postern-not-there-${process.pid}.toml`);
  const [run, check] = (['run', 'check'] as const).map((name) =>
    spawnSync(process.execPath, [MAIN, name, '--config', missing], { encoding: 'utf8', timeout: 120_000 }),
  );
  assert.ok(run && check);
  assert.equal(run.status, 1);
  assert.equal(run.stderr, check.stderr);
  assert.match(run.stderr, /: expected a file that can be read: .*; "postern config --example" prints one/);
});
