/**
 * The supervisor with real users, capabilities, mount namespaces and listeners; the roles are stand-ins (run/stand-in.ts)
 * that tell what they were given.
 */
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { runPaths } from '../../src/kit/run-dir.ts';
import { sharedGroup, userOf } from '../../src/kit/users.ts';
import { createNetwork, type LabNetwork } from '../../src/lab/network.ts';
import { needsRoot } from '../kit/tier.ts';
import { Client, configText, type Line, makePlaces, type Places, Running } from './run/running.ts';

const NOTHING = '0000000000000000';
/** CAP_NET_ADMIN (12) and CAP_NET_RAW (13) */
const GUARDS = '0000000000003000';

describe('postern run', { skip: needsRoot }, () => {
  let network: LabNetwork;
  let places: Places & { remove: () => void };
  let client: Client;
  const runs: Running[] = [];
  const cleanups: (() => void | Promise<void>)[] = [];

  before(async () => {
    network = await createNetwork();
    cleanups.push(network.destroy);
    places = makePlaces();
    cleanups.push(places.remove);
    client = new Client(network.gateway);
    cleanups.push(() => client.end());
  });
  afterEach(async () => {
    writeFileSync(places.config, configText(places));
    for (const run of runs.splice(0)) {
      run.child.kill('SIGKILL');
      await run.ended;
    }
  });
  after(async () => {
    for (const clean of cleanups.reverse()) await clean();
  });

  function start(standIn = '', more: readonly string[] = []): Running {
    const run = new Running(network.gateway, places, standIn, more);
    runs.push(run);
    return run;
  }

  function fields(line: Line | undefined): Record<string, string> {
    const text = line?.['status'] as string;
    return Object.fromEntries([...text.matchAll(/^(\w+):\s*(.*?)\s*$/gm)].map(([, key, value]) => [key, value]));
  }

  test('Shows 8: each role is its own user, and has no more rights than its work needs', async () => {
    const run = start();
    const roles = await run.up();
    const shared = sharedGroup().gid;
    for (const [name, line] of roles) {
      const role = name.split(' ')[0] as 'guard' | 'keeper' | 'worker';
      const { uid, gid } = userOf(role);
      const caps = role === 'guard' ? GUARDS : NOTHING;
      const status = fields(line);
      const seen = ['Uid', 'Gid', 'Groups', 'NoNewPrivs', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map(
        (key) => status[key],
      );
      const four = (id: number): string => Array(4).fill(id).join('\t');
      assert.deepEqual(seen, [four(uid), four(gid), String(shared), '1', ...Array(5).fill(caps)], name);
      const pid = line['pid'] as number;
      assert.equal(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0], `postern: ${name}`);
    }
    assert.equal(new Set([...roles.values()].map((line) => fields(line)['Uid'])).size, 3);
  });

  test('the code is read-only, run from a directory that no role could enter, and seen by nobody else', async () => {
    const run = start();
    for (const [name, line] of await run.up()) {
      const code = runPaths(places.runDir).code;
      assert.equal(line['execPath'], `${code}/node_modules/node`, name);
      const mount = (line['mounts'] as string).split('\n').find((text) => text.includes(` ${code} `)) ?? '';
      assert.match(mount, / ro,nosuid,nodev/, name);
      assert.equal(line['cwd'], '/', name);
      const writes = line['writes'] as Record<string, string>;
      assert.match(writes['code'] ?? '', /EROFS|EACCES/, name);
      assert.equal(writes['runDir'], 'EACCES', name);
      assert.equal(writes['keeperDir'], name === 'keeper' ? 'done' : 'EACCES', name);
      assert.equal(writes['spool'], name.startsWith('worker') ? 'done' : 'EACCES', name);
      assert.equal(line['config'], 'done', `${name} reads the configuration`);
    }
    assert.doesNotMatch(readFileSync(`/proc/${run.child.pid}/mountinfo`, 'utf8'), new RegExp(places.runDir));
  });

  test("directories: the state is the keeper's alone; sockets are for the shared group and nobody else", async () => {
    const run = start();
    await run.up();
    const modeOf = (path: string): [number, number, string] => {
      const { uid, gid, mode } = statSync(path);
      return [uid, gid, (mode & 0o7777).toString(8)];
    };
    const [keeper, worker, shared] = [userOf('keeper'), userOf('worker'), sharedGroup().gid];
    const paths = runPaths(places.runDir);
    assert.deepEqual(modeOf(places.stateDir), [keeper.uid, keeper.gid, '700']);
    assert.deepEqual(modeOf(places.runDir), [0, 0, '755']);
    assert.deepEqual(modeOf(paths.spoolDir), [worker.uid, worker.gid, '700']);
    assert.deepEqual(modeOf(paths.config), [0, shared, '640']);
    assert.deepEqual(modeOf(paths.probe(1)), [0, shared, '660']);
    assert.deepEqual(modeOf(paths.keeperSocket), [keeper.uid, shared, '660']);

    for (const [uid, group, sockets] of [
      [worker.uid, shared, 'open'],
      [userOf('guard').uid, shared, 'open'],
      [65534, 65534, 'EACCES'],
    ] as const)
      for (const path of [paths.keeperSocket, paths.probe(2)]) {
        const args = [
          '--reuid',
          String(uid),
          '--regid',
          String(uid),
          '--groups',
          String(group),
          '--bounding-set=-all',
          '--inh-caps=-all',
        ];
        // The test's own Node may lie where these users cannot go: python3 stands in.
        const python = `import socket,sys\ntry:\n  socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print("open")\nexcept OSError as e:\n  import errno; print(errno.errorcode[e.errno])`;
        const ran = await network.gateway.run('setpriv', [...args, '/usr/bin/python3', '-c', python, path]);
        assert.equal(ran.stdout.trim(), sockets, `${uid} ${path} ${ran.stderr}`);
      }
  });

  test('the rules are in before anything serves; when they cannot be put in, nothing is started', async () => {
    const run = start();
    await run.up();
    const rules = run.out.all.findIndex((line) => line['what'] === 'exit');
    assert.deepEqual([run.out.all[rules]?.['stand'], run.out.all[rules]?.['code']], ['guard', 0]);
    assert.ok(rules < run.out.all.findIndex(({ event }) => event === 'role.started'));
    run.child.kill('SIGTERM');
    await run.ended;

    const failed = start('rules fail');
    assert.equal(await failed.ended, 1);
    assert.deepEqual(
      failed.out.all.filter(({ event }) => event === 'role.started'),
      [],
    );
    assert.match(
      JSON.stringify(failed.err.all),
      /the rules could not be put into the kernel: postern guard --rules-only ended with 3/,
    );
  });

  test('listeners: IPv4, IPv6 and probe, in this order, and each worker has its own', async () => {
    const run = start();
    const roles = await run.up();
    for (const [i, where] of [
      [1, '127.0.0.1 2525'],
      [2, '::1 2525'],
    ] as const) {
      const { outcome } = client.open(where);
      assert.match(String((await outcome)['got']), new RegExp(`^220 worker [12] v${i === 1 ? 4 : 6} `));
    }
    for (const worker of [1, 2]) {
      const { outcome } = client.open(runPaths(places.runDir).probe(worker));
      assert.equal(
        (await outcome)['got'],
        `220 worker ${worker} probe ${String(roles.get(`worker ${worker}`)?.['pid'])}`,
      );
    }
    const { env } = roles.get('worker 2') as { env: Record<string, string> };
    assert.deepEqual([env['LISTEN_FDS'], env['LISTEN_PID']], ['3', String(roles.get('worker 2')?.['pid'])]);
  });

  test('workers killed one after the other: nobody is refused, nobody waits over 5 s', async () => {
    const run = start();
    await run.up();
    const outcomes: Promise<Line>[] = [];
    for (let kill = 0; kill < 6; kill++) {
      const stand = `worker ${1 + (kill % 2)}`;
      const victim = run.out.all.findLast((line) => line['what'] === 'start' && line['stand'] === stand);
      const from = run.out.all.length;
      process.kill(victim?.['pid'] as number, 'SIGKILL');
      for (let i = 0; i < 10; i++) outcomes.push(client.open(i % 2 === 0 ? '127.0.0.1 2525' : '::1 2525').outcome);
      await run.out.find({ stand, what: 'start' }, from);
    }
    const seen = await Promise.all(outcomes);
    // A connection that a worker had already accepted dies with it: that is a reset after the connect, never a refusal.
    assert.deepEqual(
      seen.filter(({ error }) => error !== undefined && error !== 'ECONNRESET'),
      [],
    );
    const served = seen.filter(({ got }) => got !== undefined);
    assert.ok(served.length >= 50, `${served.length} of 60 were served`);
    for (const { afterMs } of served) assert.ok((afterMs as number) < 60_000, `waited ${String(afterMs)} ms`);
  });

  test('the guard reports a silent worker: that one is killed, though not while it is young or has not answered yet; nonsense does nothing', async () => {
    const run = start('guard complains');
    await run.up();
    const killed = await run.out.find({ event: 'role.ended', name: 'worker 1' });
    assert.equal(killed['signal'], 'SIGKILL');
    assert.ok((killed['livedMs'] as number) >= 5_000, `killed at the age of ${String(killed['livedMs'])} ms`);
    assert.equal(killed['restartInMs'], 0);
    await run.out.find({ event: 'role.started', name: 'worker 1' }, run.out.all.indexOf(killed));
    const unknown = run.out.all.filter(({ event }) => event === 'guard.unknown').map(({ line }) => line);
    assert.deepEqual(unknown, ['no JSON', '{"silent":"1"}', '{"silent":3}', '{"silent":0}']);
    assert.deepEqual(
      run.out.all.filter(({ event, name }) => event === 'role.ended' && name !== 'worker 1'),
      [],
    );
  });

  test('SIGHUP: a valid configuration reaches every role, an invalid one none, and the guard is told', async () => {
    const run = start();
    await run.up();
    const change = async (text: string): Promise<number> => {
      const from = run.out.all.length;
      writeFileSync(places.config, text);
      run.child.kill('SIGHUP');
      return from;
    };
    let from = await change(
      configText(places, (text) => text.replace('[intercept]', '[intercept]\nconnection_burst = 77')),
    );
    for (const stand of ['guard', 'keeper', 'worker 1', 'worker 2']) {
      assert.match(String((await run.out.find({ stand, what: 'hup' }, from))['text']), /connection_burst = 77/);
    }
    const before = run.out.all.filter(({ what }) => what === 'hup').length;

    from = await change(configText(places, (text) => text.replace('workers = 2', 'workers = "many"\nnonsense = 1')));
    await run.out.find({ stand: 'guard', what: 'told' }, from);
    const errors = run.out.all
      .slice(from)
      .filter(({ event }) => event === 'config.refused')
      .map(({ error }) => String(error));
    assert.equal(errors.length, 2, errors.join('\n'));
    assert.ok(
      errors.every((error) => error.startsWith(places.config)),
      errors.join('\n'),
    );

    from = await change(configText(places, (text) => text.replace('workers = 2', 'workers = 3')));
    await run.out.find({ stand: 'guard', what: 'told' }, from);
    const refused = await run.out.find({ event: 'config.refused' }, from);
    assert.match(String(refused['error']), /gateway.workers = 3: was 2, and changes only with a restart/);
    assert.equal(run.out.all.filter(({ what }) => what === 'hup').length, before, 'no role was told of either');
    assert.match(readFileSync(runPaths(places.runDir).config, 'utf8'), /connection_burst = 77/);
  });

  test('SIGTERM: sessions end first, then keeper, then guard; the rules stand and it says so', async () => {
    const run = start();
    await run.up();
    const { id, outcome, closed } = client.open('127.0.0.1 2525');
    await outcome;
    run.child.kill('SIGTERM');
    await run.out.find({ stand: 'worker 1', what: 'term' });
    await run.out.find({ stand: 'worker 2', what: 'term' });
    // Refused, or reset when it came in the instant before the listener was closed.
    const late = await client.open('127.0.0.1 2525').outcome;
    assert.match(String(late['error']), /^ECONN(REFUSED|RESET)$/, 'no new session');
    assert.deepEqual(
      run.out.all.filter(({ stand, what }) => stand === 'keeper' && what === 'term'),
      [],
    );
    client.say(id, 'QUIT');
    assert.equal((await closed)['closed'], '221');
    assert.equal(await run.ended, 0);
    const order = run.out.all
      .filter(({ what }) => what === 'exit')
      .map(({ stand }) => stand)
      .slice(-2);
    assert.deepEqual(order, ['keeper', 'guard']);
    assert.deepEqual(
      run.out.all.filter(({ stand }) => stand === 'rules'),
      [],
    );
    assert.match(JSON.stringify(run.err.all), /The kernel rules stand.*postern rules --remove/);
  });

  test("--remove-rules-on-exit takes the rules away at the very end, as the guard's user", async () => {
    const run = start('', ['--remove']);
    await run.up();
    run.child.kill('SIGINT');
    assert.equal(await run.ended, 0);
    const rules = await run.out.find({ stand: 'rules', what: 'start' });
    assert.deepEqual((rules['args'] as string[]).includes('--remove'), true);
    assert.equal(fields(rules)['Uid']?.split('\t')[0], String(userOf('guard').uid));
    const exits = run.out.all.filter(({ what }) => what === 'exit').map(({ stand }) => stand);
    assert.equal(exits.at(-1), 'rules');
  });

  test('a worker that does not end is killed 5 s after the drain; a second SIGINT ends everything at once', async () => {
    const slow = start('worker 1 deaf');
    await slow.up();
    const startedAt = performance.now();
    slow.child.kill('SIGTERM');
    assert.equal(await slow.ended, 0);
    const tookMs = performance.now() - startedAt;
    assert.ok(tookMs >= 5_900 && tookMs < 60_000, `took ${tookMs} ms`);
    const ends = slow.out.all.filter(({ event }) => event === 'role.ended');
    assert.deepEqual(
      ends.map(({ name, signal }) => [name, signal]).filter(([, signal]) => signal !== null),
      [['worker 1', 'SIGKILL']],
    );

    const hasty = start('worker 1 deaf');
    const roles = await hasty.up();
    hasty.child.kill('SIGINT');
    await hasty.out.find({ stand: 'worker 1', what: 'term' });
    hasty.child.kill('SIGINT');
    assert.equal(await hasty.ended, 130);
    await gone(roles);
  });

  test('a supervisor that is killed: every role ends by itself, the rules stand, the next one starts', async () => {
    const run = start();
    const roles = await run.up();
    run.child.kill('SIGKILL');
    await gone(roles);
    const next = start();
    await next.up();
    assert.deepEqual(
      run.out.all.filter(({ stand }) => stand === 'rules'),
      [],
    );
  });

  test('a port that another gateway holds: refused, with a hint, before the rules are touched', async () => {
    const first = start();
    await first.up();
    const second = start();
    assert.equal(await second.ended, 1);
    assert.match(JSON.stringify(second.err.all), /intercept.port 2525 is in use.*ss -ltnp/);
    assert.deepEqual(second.out.all, []);
  });

  test('a configuration that is wrong: every error, and nothing is started', async () => {
    writeFileSync(
      places.config,
      configText(places, (text) => text.replace('"lan0"', '1').replace('workers = 2', 'workers = 0')),
    );
    const run = start();
    assert.equal(await run.ended, 1);
    assert.equal(run.err.all.length, 2, JSON.stringify(run.err.all));
    assert.deepEqual(run.out.all, []);
  });
});

/** Resolves when none of these processes is left. */
async function gone(roles: ReadonlyMap<string, Line>): Promise<void> {
  const isThere = (pid: unknown): boolean => {
    try {
      // a zombie whose parent has not looked yet is as good as gone
      return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid as number}/status`, 'utf8'));
    } catch {
      return false;
    }
  };
  const deadline = performance.now() + 60_000;
  for (;;) {
    const left = [...roles].filter(([, { pid }]) => isThere(pid)).map(([name]) => name);
    if (left.length === 0) return;
    assert.ok(performance.now() < deadline, `still running: ${left.join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
