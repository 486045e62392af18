import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { test } from 'node:test';
import { type Command, type Io, UsageError } from '../../../src/cli/command.ts';
import { commands } from '../../../src/cli/commands.ts';
import { dispatch, type Program } from '../../../src/cli/dispatch.ts';

const top = join(import.meta.dirname, '../../..');

for (const [name, entry] of Object.entries(commands)) {
  test(`"${name}" is in its file, with its summary, its options and an example`, async () => {
    const { command } = await entry.load();
    assert.equal(command.name, name);
    assert.equal(command.summary, entry.summary);
    assert.match(command.help, new RegExp(`Usage: postern ${name}\\b`));
    assert.match(command.help, /Examples?:\s+\S/);
    for (const line of command.help.split('\n')) assert.ok(line.length <= 130, line);
  });
}

/** What `postern ARGS` says with one command that does as told. */
async function say(args: readonly string[], run: Command['run'] = async () => 0, debug = false) {
  const said = { out: '', err: '' };
  const io: Io = { out: (text) => (said.out += text), err: (text) => (said.err += text), isTerminal: false };
  const command: Command = { name: 'lock', summary: 'stop it', help: 'Usage: postern lock', run };
  const program: Program = {
    commands: { lock: { summary: 'stop it', load: async () => ({ command }) } },
    version: '1',
    debug,
  };
  return { status: await dispatch(args, io, program), ...said };
}

test('help lists the commands with an example; without any argument it is an error', async () => {
  for (const args of [['--help'], ['-h'], ['help']]) {
    const { status, out, err } = await say(args);
    assert.deepEqual([status, err], [0, ''], String(args));
    assert.match(out, / lock {5}stop it\n[^]*Example: postern /);
  }
  assert.deepEqual({ ...(await say([])), err: '' }, { status: 2, out: '', err: '' });
});

test('help of a command, however it is asked for, runs nothing', async () => {
  const never = (): never => assert.fail('it ran');
  for (const args of [
    ['lock', '--help'],
    ['lock', 'x', '-h'],
    ['help', 'lock'],
    ['--help', 'lock'],
  ])
    assert.deepEqual(await say(args, never), { status: 0, out: 'Usage: postern lock', err: '' }, String(args));
});

test('a command gets its arguments and gives its status; behind "--" nothing is an option', async () => {
  const seen: string[][] = [];
  const run: Command['run'] = async (args) => seen.push([...args]) && 7;
  assert.equal((await say(['lock', '192.0.2.1', '--how', 'defer'], run)).status, 7);
  assert.equal((await say(['lock', '--', '--help'], run)).status, 7);
  assert.deepEqual(seen, [
    ['192.0.2.1', '--how', 'defer'],
    ['--', '--help'],
  ]);
});

test('an unknown command is named, with the one that was most likely meant', async () => {
  for (const [word, hint] of [
    ['lck', '; did you mean "lock"?'],
    ['loc', '; did you mean "lock"?'],
    ['frobnicate', ''],
    ['toString', ''],
    ['__proto__', ''],
  ] as const) {
    const err = `postern: there is no command "${word}"${hint}\nSee: postern --help`;
    assert.deepEqual(await say([word]), { status: 2, out: '', err });
  }
});

test('wrong arguments end with status 2 and the way to the help', async () => {
  const usage = async (): Promise<number> => {
    throw new UsageError('name one address');
  };
  assert.deepEqual(await say(['lock'], usage), {
    status: 2,
    out: '',
    err: 'postern lock: name one address\nSee: postern lock --help',
  });
  const parse: Command['run'] = async (args) => {
    parseArgs({ args: [...args], options: { how: { type: 'string' } } });
    return 0;
  };
  for (const [args, message] of [
    [['--hwo', 'x'], "Unknown option '--hwo'"],
    [['--how'], "Option '--how <value>' argument missing"],
    [['x'], "Unexpected argument 'x'"],
  ] as const) {
    const { status, err } = await say(['lock', ...args], parse);
    assert.equal(status, 2);
    assert.ok(err.startsWith(`postern lock: ${message}`), err);
    assert.ok(err.endsWith('\nSee: postern lock --help'), err);
  }
});

test('an error that nobody expected is one line; its stack is there for who asks', async () => {
  const fail = async (): Promise<number> => {
    throw new Error('cannot read\n  /etc/x');
  };
  assert.deepEqual(await say(['lock'], fail), {
    status: 1,
    out: '',
    err: 'postern lock: cannot read /etc/x\nPOSTERN_DEBUG=1 in the environment shows where.',
  });
  assert.match((await say(['lock'], fail, true)).err, /^Error: cannot read[^]*commands\.test\.ts/);
});

const postern = (args: readonly string[], path = join(top, 'appliance/postern')) =>
  spawnSync('sh', [path, ...args], {
    encoding: 'utf8',
    timeout: 120_000,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });

test('appliance/postern runs with the Node of the project, whatever the machine has, also through a link', (t) => {
  const { status, stdout, stderr } = postern(['--version']);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^postern \d+\.\d+\.\d+ \(Node 26\.\d+\.\d+\)\n$/);
  const directory = mkdtempSync(join(tmpdir(), 'postern-link-'));
  t.after(() => rmSync(directory, { recursive: true }));
  symlinkSync(join(top, 'appliance/postern'), join(directory, 'postern'));
  assert.equal(postern(['--version'], join(directory, 'postern')).stdout, stdout);
});

test('without node_modules it says what to run', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-bare-'));
  t.after(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, 'appliance'));
  cpSync(join(top, 'appliance/postern'), join(directory, 'appliance/postern'));
  const { status, stderr } = postern(['--help'], join(directory, 'appliance/postern'));
  assert.equal(status, 1);
  assert.match(stderr, /node_modules is missing\. Run first, as root: sh .*appliance\/setup\.sh lab\n$/);
});

test('a reader that goes away early is no error', () => {
  const script = `sh '${join(top, 'appliance/postern')}' classes --docs | head -n 1`;
  const { status, stdout, stderr } = spawnSync('bash', ['-o', 'pipefail', '-c', script], {
    encoding: 'utf8',
    timeout: 120_000,
  });
  assert.deepEqual([status, stdout, stderr], [0, '# Classes\n', '']);
});
