/**
 * Each test/bad-config/NAME.toml with everything that is wrong with it in NAME.expected, as `postern check` prints it
 * but for the directory. POSTERN_UPDATE_GOLDEN=1 writes the expected files anew: read the diff.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../../src/config/load.ts';
import { fakeOutside } from './outside.fake.ts';

const directory = join(import.meta.dirname, '../../bad-config');
const files = readdirSync(directory);
const names = files.filter((file) => file.endsWith('.toml')).map((file) => file.slice(0, -5));

for (const name of names) {
  test(`Shows 7: ${name}.toml is refused with its message`, async () => {
    const result = await loadConfig(join(directory, `${name}.toml`), fakeOutside);
    assert.ok(!result.ok, 'it was accepted');
    const output = result.errors.map(({ message }) => `${message.replace(`${directory}/`, '')}\n`).join('');
    const golden = join(directory, `${name}.expected`);
    if (process.env['POSTERN_UPDATE_GOLDEN'] === '1') writeFileSync(golden, output);
    assert.ok(existsSync(golden), `${golden} is missing`);
    assert.equal(output, readFileSync(golden, 'utf8'));
  });
}

test('Shows 7: there are enough of them, and no expected file without its configuration', () => {
  assert.ok(names.length >= 30, `${names.length} bad configurations`);
  const orphans = files.filter((file) => file.endsWith('.expected') && !names.includes(file.slice(0, -9)));
  assert.deepEqual(orphans, []);
});
