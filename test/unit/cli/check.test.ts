/** `postern check` and `postern config`: what goes where, and the exit status. No name is looked up. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { command as check } from '../../../src/cli/check.ts';
import type { Command } from '../../../src/cli/command.ts';
import { command as config } from '../../../src/cli/config.ts';
import { configMarkdown } from '../../../src/config/docs.ts';
import { exampleToml } from '../../../src/config/example.ts';
import { system } from '../../../src/config/outside.ts';
import { interfacesHere } from '../../../src/guard/inside.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-check-'));
after(() => rmSync(directory, { recursive: true }));

async function run(command: Command, ...args: string[]): Promise<{ status: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const status = await command.run(args, {
    out: (text) => void (said.out += text),
    err: (text) => void (said.err += text),
    isTerminal: false,
  });
  return { status, ...said };
}

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

test('a good configuration: what is in effect on standard output, status 0', async () => {
  const path = file('good.toml', exampleToml());
  const { status, out, err } = await run(check, '--no-resolve', '--config', path);
  // This machine may have no lan0.
  const errors = err.split('\n').filter((line) => line !== '' && !line.includes(': warning: intercept.inside: '));
  assert.deepEqual([status, errors], [0, []]);
  assert.match(out, new RegExp(`^name = "gw1.example.net" +# ${path}:\\d+$`, 'm'));
});

test('an interface that this machine does not have is a warning, with and without --json; status 0', async () => {
  // Whatever this machine has but lo, which no configuration may name; perhaps nothing.
  const here = [...interfacesHere()].filter((name) => name !== 'lo').slice(0, 1);
  const path = file('slip.toml', exampleToml().replace('["lan0"]', JSON.stringify(['lna0', ...here])));
  for (const more of [[], ['--json']]) {
    const { status, out, err } = await run(check, '--no-resolve', '--config', path, ...more);
    assert.equal(status, 0);
    assert.match(
      err,
      /^\S+slip\.toml:\d+: warning: intercept\.inside: this machine has no interface "lna0" now; .*\n$/,
    );
    assert.doesNotMatch(out, /warning/);
  }
});

test('a contact at a provider of free mailboxes is a warning with its line; one of your own is none', async () => {
  const contacts = `[[tenant]]
name = "a"
contact = "a@GMail.com"
[[tenant]]
name = "b"
contact = "b@mail.example.com"
[[subscriber]]
name = "c"
prefixes = ["198.51.100.9"]
contact = "c@yahoo.co.uk"
[reports]
from = "postern@example.net"
contact = "abuse@gmx.de"
`;
  const whole = `[gateway]
name = "gw1.example.net"
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["smtp.example.net:587"]
[[network]]
name = "customers"
prefixes = ["198.51.100.0/24"]
`;
  const path = file('freemail.toml', whole + contacts);
  const { status, err } = await run(check, '--no-resolve', '--config', path);
  assert.equal(status, 0, err);
  const first = whole.split('\n').length;
  const warned = [...err.matchAll(/toml:(\d+): warning: ([\w.]+): "([^"]+)" is at a provider/g)];
  assert.deepEqual(
    warned.map(([, line, key, contact]) => [Number(line) - first, key, contact]),
    [
      [12, 'reports.contact', 'abuse@gmx.de'],
      [2, 'contact', 'a@GMail.com'],
      [9, 'contact', 'c@yahoo.co.uk'],
    ],
  );
});

test('a bad one: every error on standard error, nothing else, status 1', async () => {
  const path = file('bad.toml', exampleToml().replace('"lan0"', '"lan+"').replace('"customers"', '"Customers"'));
  const { status, out, err } = await run(check, '--no-resolve', '--config', path);
  assert.deepEqual([status, out], [1, '']);
  assert.deepEqual(
    err.split('\n').map((line) => line.replace(/:\d+: /, ':N: ').replace(/: expected .*/, '')),
    [`${path}:N: intercept.inside[0] = "lan+"`, `${path}:N: network[0].name = "Customers"`, ''],
  );
});

test('--json: one object on standard output in both cases', async () => {
  const good = await run(check, '--no-resolve', '--json', '--config', file('good.toml', exampleToml()));
  assert.equal((JSON.parse(good.out) as { ok: boolean }).ok, true);
  const bad = await run(check, '--no-resolve', '--json', '--config', file('bad.toml', ''));
  const parsed = JSON.parse(bad.out) as { ok: boolean; errors: { key: string; line: number }[] };
  assert.equal(bad.status, 1);
  assert.equal(parsed.ok, false);
  assert.deepEqual(
    parsed.errors.map(({ key }) => key),
    ['gateway.name', 'intercept.inside', 'smarthost.servers', 'network'],
  );
});

test('names are looked up unless --no-resolve is given', async (t) => {
  t.mock.method(system, 'resolve', () => Promise.reject(new Error('asked')));
  const path = file('good.toml', exampleToml());
  assert.match((await run(check, '--config', path)).err, /expected a name that resolves: asked$/m);
  assert.equal((await run(check, '--config', path, '--no-resolve')).status, 0);
});

test('postern config prints the example or the reference, and wants one of them', async () => {
  assert.deepEqual(await run(config, '--example'), { status: 0, out: exampleToml(), err: '' });
  assert.deepEqual(await run(config, '--docs'), { status: 0, out: configMarkdown(), err: '' });
  await assert.rejects(run(config), { name: 'UsageError' });
  await assert.rejects(run(config, '--example', '--docs'), { name: 'UsageError' });
  await assert.rejects(run(check, '--nonsense'), { code: 'ERR_PARSE_ARGS_UNKNOWN_OPTION' });
});
