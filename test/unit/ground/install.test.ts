/** systemd/install.ts on wrong arguments. What it lays out is booted by the tests of the units. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const install = join(import.meta.dirname, '../../../systemd/install.ts');
const directory = mkdtempSync(join(tmpdir(), 'postern-install-'));
after(() => rmSync(directory, { recursive: true }));

for (const args of [[], [''], ['--help'], ['-h'], ['--root=/tmp'], ['-'], ['root', '/other']]) {
  test(`installs nothing with ${JSON.stringify(args)}, and says how it is used`, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [install, ...args], {
      cwd: directory,
      encoding: 'utf8',
    });
    const wantsHelp = args[0] === '--help' || args[0] === '-h';
    assert.equal(status, wantsHelp ? 0 : 2);
    assert.match(wantsHelp ? stdout : stderr, /^Usage: node systemd\/install\.ts ROOT\n/);
    assert.deepEqual(readdirSync(directory), []);
  });
}
