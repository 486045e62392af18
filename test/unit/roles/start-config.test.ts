import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Log } from '../../../src/kit/log.ts';
import { loadAtStart, saysNothing } from '../../../src/roles/start-config.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-start-'));
after(() => rmSync(directory, { recursive: true }));

function file(name: string, gatewayName: string): string {
  const path = join(directory, name);
  writeFileSync(
    path,
    `[gateway]\nname = "${gatewayName}"\n[intercept]\ninside = ["lan0"]\n[smarthost]\nservers = ["smtp.example.net:587"]\n` +
      '[[network]]\nname = "customers"\nprefixes = ["198.51.100.0/24"]\n',
  );
  return path;
}

const good = file('good.toml', 'gw1.example.net');
const lastValid = file('last.toml', 'gw0.example.net');
const wrong = file('wrong.toml', 'no name');

function memoryLog(): { log: Log; events: string[] } {
  const events: string[] = [];
  return { log: { write: (_level, event) => void events.push(event) }, events };
}

async function nameFrom(
  path: string,
  last: string | undefined,
): Promise<{ name: string | undefined; events: string[] }> {
  const { log, events } = memoryLog();
  const loaded = await loadAtStart(path, log, {}, last);
  return { name: loaded.ok ? loaded.config.gateway.name : undefined, events };
}

test('a valid file is what counts', async () => {
  assert.deepEqual(await nameFrom(good, lastValid), { name: 'gw1.example.net', events: [] });
});

test('a wrong or missing file: the last valid one, and every error in the log', async () => {
  for (const path of [wrong, join(directory, 'missing.toml')])
    assert.deepEqual(await nameFrom(path, lastValid), {
      name: 'gw0.example.net',
      events: ['config.invalid', 'config.last-valid'],
    });
});

test('none that is valid: refused, with the errors of the file that was asked for', async () => {
  for (const last of [undefined, wrong, join(directory, 'missing.toml')]) {
    const { log, events } = memoryLog();
    const loaded = await loadAtStart(wrong, log, {}, last);
    assert.ok(!loaded.ok && loaded.errors[0]?.file === wrong);
    assert.deepEqual(events, []);
  }
});

test('a file with nothing but comments says nothing; any other one, or none, is no such file', () => {
  const says = (text: string): boolean => {
    const path = join(directory, 'says.toml');
    writeFileSync(path, text);
    return !saysNothing(path);
  };
  for (const text of ['', '\n', '# Not set up.\n  # [gateway]\r\n\t\n#']) assert.equal(says(text), false, text);
  for (const text of ['[gateway]', '# Not set up.\n  workers = 2 # two\n', 'x']) assert.equal(says(text), true, text);
  assert.equal(saysNothing(join(directory, 'missing.toml')), false);
});
