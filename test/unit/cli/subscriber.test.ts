/** `postern effective` and `postern subscriber import`. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { type Command, UsageError } from '../../../src/cli/command.ts';
import { command as effective } from '../../../src/cli/effective.ts';
import { command as subscriber } from '../../../src/cli/subscriber.ts';
import { goodToml } from '../config/outside.fake.ts';

const top = mkdtempSync(join(tmpdir(), 'postern-subscriber-'));
after(() => rmSync(top, { recursive: true }));
const config = join(top, 'a.toml');
const directory = join(top, 'subscribers');
const list = join(top, 'customers.csv');

beforeEach(() => {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  writeFileSync(
    config,
    `${goodToml}max_connections = 100\n[subscribers]\ndirectory = "${directory}"\n[[subscriber]]\nname = "web-1"\nprefixes = ["198.51.100.7"]\nlog = "hash"\n`,
  );
});

async function run(command: Command, ...args: string[]): Promise<{ status: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const status = await command.run([...args, '--config', config], {
    out: (text) => void (said.out += `${text}\n`),
    err: (text) => void (said.err += `${text}\n`),
    isTerminal: false,
  });
  return { status, out: said.out.replaceAll(top, ''), err: said.err.replaceAll(top, '') };
}

test('effective names the level of each value, with file and line', async () => {
  const { status, out } = await run(effective, '198.51.100.7');
  assert.equal(status, 0);
  assert.match(out, /^198\.51\.100\.7: subscriber web-1 in network customers, counted as @web-1\n/);
  assert.match(out, /^log +"hash" +subscriber +\/a\.toml:20$/m);
  assert.match(out, /^max_connections +100 +network +\/a\.toml:14$/m);
  assert.match(out, /^mode +"enforce" +default$/m);
  assert.match(out, /^contact +\(not set\) +default$/m);
  const other = JSON.parse((await run(effective, '2001:db8:1:5::9', '--json')).out) as Record<string, unknown>;
  assert.deepEqual([other['subscriber'], other['subject']], [undefined, '2001:db8:1:5::/64']);
  assert.deepEqual((other['settings'] as Record<string, unknown>)['log'], { value: 'full', level: 'default' });
});

test('effective of an address in no network is a no; of what is no address a wrong argument', async () => {
  assert.deepEqual(await run(effective, '203.0.113.1'), {
    status: 1,
    out: '',
    err: '203.0.113.1 is in no network: its connections to port 25 are refused\n',
  });
  for (const args of [[], ['198.51.100.0/24'], ['a', 'b']]) await assert.rejects(run(effective, ...args), UsageError);
});

test('a good list is imported, replaces the one of its name, and holds', async () => {
  for (const connections of ['5', '6']) {
    writeFileSync(list, `name,prefixes,max_connections\nweb-2,198.51.100.8,${connections}\n`);
    const { status, out } = await run(subscriber, 'import', list);
    assert.deepEqual(
      [status, out],
      [0, '/subscribers/customers.csv: 1 subscriber; the gateway takes them at its next reload\n'],
    );
    assert.match(
      (await run(effective, '198.51.100.8')).out,
      new RegExp(`^max_connections +${connections} +subscriber +/subscribers/customers\\.csv:2$`, 'm'),
    );
  }
  assert.deepEqual(readdirSync(directory), ['customers.csv']);
  assert.equal(statSync(join(directory, 'customers.csv')).mode & 0o007, 0, 'not for others');
});

test('a list that is wrong, or does not fit with the others, changes nothing; a dry run neither', async () => {
  for (const [text, expected] of [
    ['name,prefixes\nx,nonsense\n', /customers\.csv:2: prefixes = "nonsense"/],
    ['name,prefixes\nweb-1,198.51.100.9\n', /a name of its own, unlike \/a\.toml:17/],
    ['name,prefixes\nx,198.51.100.7\n', /subscriber "web-1" has it/],
  ] as const) {
    writeFileSync(list, text);
    const { status, err } = await run(subscriber, 'import', list);
    assert.equal(status, 1);
    assert.match(err, expected);
  }
  writeFileSync(list, 'name,prefixes\nweb-2,198.51.100.8\n');
  assert.deepEqual(await run(subscriber, 'import', list, '--dry-run'), {
    status: 0,
    out: '/customers.csv: 1 subscriber, good\n',
    err: '',
  });
  assert.ok(!existsSync(join(directory, 'customers.csv')));
});

test('without a directory in the configuration it is said what to set; other words are wrong arguments', async () => {
  writeFileSync(config, goodToml);
  writeFileSync(list, 'name,prefixes\nweb-2,198.51.100.8\n');
  assert.match(
    (await run(subscriber, 'import', list)).err,
    /names no directory to import into: set subscribers\.directory/,
  );
  for (const args of [[], ['import'], ['import', 'a.txt'], ['export', 'a.csv']])
    await assert.rejects(run(subscriber, ...args), UsageError);
});
