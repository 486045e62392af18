import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { createNetwork, type LabNetwork, PLACES, sweep } from '../../../src/lab/network.ts';
import { needsRoot } from '../../kit/tier.ts';

const networks: LabNetwork[] = [];
after(async () => {
  for (const network of networks) await network.destroy();
});

async function make(options?: Parameters<typeof createNetwork>[0]): Promise<LabNetwork> {
  const network = await createNetwork(options);
  networks.push(network);
  return network;
}

const namesOf = (network: LabNetwork): string[] => [network.inside.name, network.gateway.name, network.internet.name];
const existing = (): string[] => (existsSync('/run/netns') ? readdirSync('/run/netns') : []);

/** Sends its client's address back to whoever connects. */
const ECHO = `
const net = require('node:net');
const server = net.createServer((s) => { s.on('error', () => {}); s.end(s.remoteAddress + ' ' + s.localAddress); });
server.listen({ host: '::', port: 25 }, () => console.log('ready'));
`;
const CALL = `
const [host, localAddress] = process.argv.slice(1);
const s = require('node:net').connect({ host, port: 25, localAddress, timeout: 3000 }, () => {});
s.on('data', (d) => process.stdout.write(d)); s.on('timeout', () => s.destroy(new Error('timeout')));
s.on('error', (e) => { process.stdout.write(e.code || e.message); process.exitCode = 1; });
`;

test('both families pass between inside and internet at once, from every address', { skip: needsRoot }, async () => {
  const extra = ['198.51.100.40', '2001:db8:1:40::10'];
  const network = await make({ hosts: extra });
  const server = network.internet.spawn(process.execPath, ['-e', ECHO], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(server.stdout as NonNullable<ChildProcess['stdout']>, 'data');
  const sources: string[] = [...PLACES.hosts, PLACES.stranger].flatMap((ends) => [ends.v4, ends.v6]);
  sources.push(...extra);
  const seen = await Promise.all(
    sources.map(async (source) => {
      const target = source.includes(':') ? PLACES.direct.v6 : PLACES.direct.v4;
      const ran = await network.inside.run(process.execPath, ['-e', CALL, target, source], { deadlineMs: 10_000 });
      return ran.stdout.replaceAll('::ffff:', '');
    }),
  );
  assert.deepEqual(
    seen,
    sources.map((source) => `${source} ${source.includes(':') ? PLACES.direct.v6 : PLACES.direct.v4}`),
  );
});

test('a name that nobody knows is unknown at once, whatever servers the machine asks', {
  skip: needsRoot,
}, async () => {
  const { inside } = await make();
  // Eight at a time: a gateway sends only so many "unreachable" a second, and the rest would wait.
  const all = Array.from({ length: 8 }, () =>
    inside.run('getent', ['hosts', 'nowhere.example.net'], { deadlineMs: 4000 }),
  );
  for (const { code, timedOut } of await Promise.all(all)) assert.deepEqual([code, timedOut], [2, false]);
});

test('run hands in input, returns output and status, and ends at the deadline', { skip: needsRoot }, async () => {
  const { inside } = await make();
  const told = await inside.run('sh', ['-c', 'cat; echo wrong >&2; echo $WORD; exit 3'], {
    input: 'x',
    env: { WORD: 'y' },
  });
  assert.deepEqual(told, { code: 3, stdout: 'xy\n', stderr: 'wrong\n', timedOut: false });
  const late = await inside.run('sh', ['-c', 'echo begun; sleep 60 & wait'], { deadlineMs: 200 });
  assert.deepEqual([late.code, late.timedOut, late.stdout], [124, true, 'begun\n']);
});

test('destroy ends what runs in it and leaves no namespace and no file', { skip: needsRoot }, async () => {
  const network = await make({ names: { 'mx.example.net': [PLACES.direct.v4, PLACES.direct.v6] } });
  const hosts = await network.inside.run('getent', ['ahostsv4', 'mx.example.net']);
  assert.match(hosts.stdout, /^203\.0\.113\.25 /);
  const child = network.gateway.spawn('sh', ['-c', 'trap "" TERM; echo up; sleep 60 & wait'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data');
  const exit = once(child, 'exit');
  await network.destroy();
  await network.destroy();
  assert.equal((await exit)[1], 'SIGKILL');
  for (const name of namesOf(network)) {
    assert.ok(!existing().includes(name), name);
    assert.ok(!existsSync(`/etc/netns/${name}`), name);
  }
});

const MAKER = `
import { createNetwork } from ${JSON.stringify(new URL('../../../src/lab/network.ts', import.meta.url).href)};
const network = await createNetwork({ names: { 'a.example': ['192.0.2.1'] } });
network.inside.spawn('sleep', ['60'], { stdio: 'ignore' });
console.log(network.inside.name);
process.on('message', () => { throw new Error('planted'); });
`;

async function maker(): Promise<{ child: ChildProcess; prefix: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', MAKER], {
    stdio: ['ignore', 'pipe', 'ignore', 'ipc'],
  });
  const [line] = (await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data')) as [Buffer];
  return { child, prefix: line.toString().trim().replace(/-in$/, '') };
}

const leftOf = (prefix: string): string[] => existing().filter((name) => name.startsWith(`${prefix}-`));

for (const [how, end, expected] of [
  ['an uncaught error', (child: ChildProcess) => child.send('now'), [1, null]],
  ['SIGINT', (child: ChildProcess) => child.kill('SIGINT'), [null, 'SIGINT']],
  ['SIGTERM', (child: ChildProcess) => child.kill('SIGTERM'), [null, 'SIGTERM']],
] as const) {
  test(`${how} leaves nothing behind`, { skip: needsRoot }, async () => {
    const { child, prefix } = await maker();
    assert.equal(leftOf(prefix).length, 3);
    end(child);
    assert.deepEqual(await once(child, 'exit'), expected);
    assert.deepEqual(leftOf(prefix), []);
  });
}

test('sweep removes what a killed maker left, and nothing of a living one', { skip: needsRoot }, async () => {
  const living = await make();
  const { child, prefix } = await maker();
  child.kill('SIGKILL');
  await once(child, 'exit');
  const left = leftOf(prefix);
  assert.equal(left.length, 3);
  assert.equal(existsSync(`/etc/netns/${prefix}-in/hosts`), true);
  const swept = sweep();
  for (const name of left) assert.ok(swept.includes(name), name);
  assert.deepEqual(leftOf(prefix), []);
  assert.equal(existsSync(`/etc/netns/${prefix}-in`), false);
  for (const name of namesOf(living)) assert.ok(existing().includes(name), name);
});

test('a failure half way leaves nothing', { skip: needsRoot }, async () => {
  const before = existing().filter((name) => name.startsWith(`pstn${process.pid}-`));
  await assert.rejects(createNetwork({ hosts: ['198.51.100.10'] }), /File exists|already assigned/);
  assert.deepEqual(
    existing().filter((name) => name.startsWith(`pstn${process.pid}-`)),
    before,
  );
});

test('the machine itself is left as it was', { skip: needsRoot }, async () => {
  const before = readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8');
  await make();
  assert.equal(readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8'), before);
});
