import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Config } from '../../../src/config/schema.ts';
import { hasWish, writeWish } from '../../../src/kit/wish.ts';
import { watchWishes } from '../../../src/roles/wishes.ts';

const stateDir = mkdtempSync(join(tmpdir(), 'postern-wishes-'));
after(() => rmSync(stateDir, { recursive: true }));

test('a wish that nobody could take since the file is wrong is tried once', async () => {
  // The program, which it starts again by these.
  process.argv[1] = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));
  process.execArgv = [];
  const configPath = join(stateDir, 'a.toml');
  writeFileSync(configPath, 'nonsense = 1\n');
  writeWish(stateDir, { id: '01HZX3V9Q0000001', at: Date.now(), what: 'back' });
  const life = new AbortController();
  const code = await new Promise((resolve) => {
    watchWishes({
      configPath,
      config: () => ({ panel: { apply: true }, gateway: { stateDir } }) as Config,
      say: (_level, _event, fields) => resolve(fields?.['code']),
      signal: life.signal,
    });
  });
  life.abort();
  assert.deepEqual([code, hasWish(stateDir)], [1, false]);
});
