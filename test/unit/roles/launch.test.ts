import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { launchOf } from '../../../src/roles/launch.ts';

const program = {
  codeDir: '/srv/postern',
  nodePath: '/srv/postern/node_modules/node/bin/node',
  runDir: '/run/p',
  keepsSource: false,
};

test('a Node inside the checkout is run from where the checkout is mounted, another one from its own place', () => {
  const inside = launchOf('keeper', ['keeper'], program);
  assert.ok(inside.args.includes('/run/p/code/node_modules/node/bin/node'));
  assert.ok(inside.args.includes('/run/p/code/src/main.ts'));
  const outside = launchOf('keeper', ['keeper'], { ...program, nodePath: '/usr/bin/node' });
  assert.ok(outside.args.includes('/usr/bin/node'));
  // a neighbour whose name only begins the same
  const neighbour = launchOf('keeper', ['keeper'], { ...program, nodePath: '/srv/postern-old/node' });
  assert.ok(neighbour.args.includes('/srv/postern-old/node'));
});

test('each process has its title', () => {
  const titleOf = (args: string[]): string | undefined =>
    launchOf('worker', args, program).args.find((arg) => arg.startsWith('--title='));
  assert.equal(titleOf(['worker', '--config', '/x', '--index', '2']), '--title=postern: worker 2');
  assert.equal(titleOf(['guard', '--config', '/x']), '--title=postern: guard');
});

test("a role gets nothing of root's environment but the time zone and our own switches", () => {
  const names = ['TZ', 'POSTERN_X', 'NODE_OPTIONS', 'LD_PRELOAD'];
  const before = names.map((name) => [name, process.env[name]] as const);
  after(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
  for (const name of names) process.env[name] = `${name} is set`;
  const { env } = launchOf('worker', ['worker'], program, { LISTEN_FDS: '3' });
  const kept = names.filter((name) => name in env);
  assert.deepEqual(kept, ['TZ', 'POSTERN_X']);
  assert.equal(env['LISTEN_FDS'], '3');
  assert.equal(env['PATH'], '/usr/sbin:/usr/bin:/sbin:/bin');
});

test('a worker has CAP_NET_RAW where a host keeps its own address, and nothing otherwise', () => {
  const capabilitiesOf = (keepsSource: boolean): string | undefined => {
    const { args } = launchOf('worker', ['worker'], { ...program, keepsSource });
    return args[args.indexOf('--bounding-set') + 1];
  };
  assert.equal(capabilitiesOf(false), '-all');
  assert.equal(capabilitiesOf(true), '-all,+net_raw');
});
