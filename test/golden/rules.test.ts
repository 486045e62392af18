/**
 * The text that the kernel is given, for each iptables/golden/NAME.toml, is iptables/golden/NAME.txt to the letter.
 * `npm run golden` writes the texts anew; whoever commits them has read the difference.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { plan } from '../../src/guard/plan.ts';
import { renderAll } from '../../src/guard/render.ts';

const folder = join(import.meta.dirname, '../../iptables/golden');
const update = process.env['POSTERN_UPDATE_GOLDEN'] === '1';
const files = globSync(join(folder, '*.toml')).sort();

test('there are golden files', () => assert.ok(files.length >= 3));

for (const file of files) {
  test(`rules of ${basename(file)}`, async () => {
    const loaded = await loadConfig(file, {});
    assert.ok(loaded.ok, loaded.ok ? '' : loaded.errors.map(({ message }) => message).join('\n'));
    const text = renderAll(plan(loaded.config, { workerUid: 60927 }));
    const golden = file.replace(/\.toml$/, '.txt');
    if (update) writeFileSync(golden, text);
    assert.equal(text, readFileSync(golden, 'utf8'));
  });
}
