/** The guard and the keeper, and a new configuration: locks go into the kernel, counts come out, nothing leaks between. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { listenChannel, type Peer } from '../../src/kit/channel.ts';
import { runPaths } from '../../src/kit/run-dir.ts';
import { type KernelReport, type Lock, type ToKeeper, VERSION } from '../../src/ledger/language.ts';
import { checkToKeeper } from '../../src/ledger/language-check.ts';
import { EXEMPT_SERVER, everyMode, GuardLab, type GuardProcess, SERVER, SOURCES, VERSIONS } from '../kit/guard-lab.ts';
import { needsRoot } from '../kit/tier.ts';
import { type Inbox, inbox } from '../kit/wait.ts';

const REFUSED = 'ECONNREFUSED';
const FAST = 'connection_rate = "10000/s"\nconnection_burst = 10000';

suite('the guard and its keeper', { skip: needsRoot }, () => {
  let lab: GuardLab;
  let guard: GuardProcess;
  let peer: Peer;
  let heard: Inbox<ToKeeper>;
  let away = new AbortController();
  before(async () => {
    lab = await GuardLab.create();
    lab.configure(everyMode, FAST);
    await lab.startProbes();
    await listen();
    guard = await lab.startGuard();
    await guard.logged('intercept.alive');
  });
  after(async () => {
    away.abort();
    await lab.destroy();
  });

  async function listen(): Promise<void> {
    away = new AbortController();
    heard = inbox();
    const options = {
      mode: 0o666,
      onConnection: (connected: Peer) => {
        peer = connected;
        return { check: checkToKeeper, onMessage: heard.put, onDown() {} };
      },
    };
    await listenChannel<ToKeeper>(runPaths(lab.directory).keeperSocket, options, away.signal);
  }
  /** The first report from now on that fits. */
  async function report(fits: (report: KernelReport) => boolean = () => true): Promise<KernelReport> {
    const late = sleep(60_000, undefined, { ref: false }).then(() => assert.fail('no report like that came'));
    for (;;) {
      const message = await Promise.race([heard.next(), late]);
      if (message.kind === 'kernel' && fits(message.report)) return message.report;
    }
  }
  const packets = ({ refused }: KernelReport, network: string, reason: string): number | undefined =>
    refused.find((one) => one.network === network && one.reason === reason)?.packets;
  const lock = (subject: string, rest: Partial<Lock> = {}): Lock => ({
    ...{ subject, how: 'kernel', reason: 'test', who: 'test', since: 0, until: undefined },
    ...rest,
  });
  async function untilSeen(source: keyof typeof SOURCES, v: 'v4' | 'v6', expected: string): Promise<void> {
    const end = performance.now() + 60_000;
    for (let got = ''; got !== expected; await sleep(20)) {
      got = await lab.inside.connect(SERVER[v], 25, { from: SOURCES[source][v] });
      assert.ok(performance.now() < end, `${source} ${v} still sees ${got}, not ${expected}`);
    }
  }

  async function untilLocked(expected: boolean): Promise<void> {
    const end = performance.now() + 60_000;
    while (/^add/m.test(await lab.sh('ipset save postern-locked-4')) !== expected) {
      assert.ok(performance.now() < end, `the kernel’s set is ${expected ? 'still empty' : 'not empty'}`);
      await sleep(20);
    }
  }

  test('says who it is, and then every second what the kernel has counted', async () => {
    assert.deepEqual(await heard.next(), { kind: 'hello', v: VERSION, role: 'guard' });
    const first = await report(({ refused }) => refused.length > 0);
    assert.equal(packets(first, 'unrouted', 'unrouted'), 0, 'what has not refused yet is named, too');
    for (let i = 0; i < 3; i++) await lab.inside.connect(SERVER.v4, 25, { from: SOURCES.unrouted.v4 });
    const later = await report((one) => (packets(one, 'unrouted', 'unrouted') ?? 0) > 0);
    assert.equal(packets(later, 'unrouted', 'unrouted'), 3);
    assert.deepEqual(later.topRefused, [{ source: SOURCES.unrouted.v4, packets: 3 }]);
    assert.equal(later.alive, true);
    assert.ok(Date.now() - later.aliveSince < 600_000);
    assert.deepEqual(
      later.workers.map(({ worker }) => worker),
      [1, 2],
    );
    assert.ok(later.workers.every(({ answeredMs }) => answeredMs !== undefined && answeredMs < 60_000));
    assert.equal(later.repaired, 0);
  });

  test('counts go on growing when the rules are flushed and repaired; the repair is counted', async () => {
    await lab.sh('iptables -t mangle -F');
    const repaired = await report((one) => one.repaired > 0);
    assert.equal(repaired.repaired, 1);
    await lab.inside.connect(SERVER.v4, 25, { from: SOURCES.unrouted.v4 });
    assert.equal(
      packets(await report((one) => (packets(one, 'unrouted', 'unrouted') ?? 0) > 3), 'unrouted', 'unrouted'),
      4,
    );
  });

  test('locks with how=kernel are refused before accept, others are not the kernel’s; unlocked they pass again', async () => {
    const { customers, trial } = SOURCES;
    peer.send({
      kind: 'locks',
      locks: [lock(`${customers.v4}/32`), lock('2001:db8:1::/64'), lock(`${trial.v4}/32`, { how: 'reject' })],
    });
    for (const v of VERSIONS) await untilSeen('customers', v, REFUSED);
    assert.equal(await lab.inside.connect(SERVER.v4, 25, { from: trial.v4 }), 'gateway');
    assert.ok(
      (packets(await report((one) => (packets(one, 'customers', 'locked') ?? 0) >= 2), 'customers', 'locked') ?? 0) >=
        2,
    );
    peer.send({ kind: 'locks', locks: [] });
    for (const v of VERSIONS) await untilSeen('customers', v, 'gateway');
  });

  test('a lock with an end is lifted by the kernel itself', async () => {
    // Seen while it lasts: on a machine that is busy it has to last longer.
    for (let lastsMs = 2_500, isSeen = false; !isSeen; lastsMs *= 2) {
      assert.ok(lastsMs < 60_000, 'the lock was never seen');
      const untilMs = Date.now() + lastsMs;
      peer.send({ kind: 'locks', locks: [lock(`${SOURCES.customers.v4}/32`, { until: untilMs })] });
      while (!isSeen && Date.now() < untilMs)
        isSeen = (await lab.inside.connect(SERVER.v4, 25, { from: SOURCES.customers.v4 })) === REFUSED;
    }
    guard.child.kill('SIGSTOP');
    await untilLocked(false);
    // It has not renewed the switch meanwhile; the other tests begin when it has.
    guard.lines.forget();
    await untilSeen('trial', 'v4', 'internet');
    guard.child.kill('SIGCONT');
    await guard.logged('intercept.alive');
    await untilSeen('customers', 'v4', 'gateway');
  });

  test('a lock that was taken out of the set by hand comes back', async () => {
    peer.send({ kind: 'locks', locks: [lock(`${SOURCES.customers.v4}/32`)] });
    await untilLocked(true);
    await lab.sh('ipset flush postern-locked-4');
    await untilLocked(true);
    assert.equal(await lab.inside.connect(SERVER.v4, 25, { from: SOURCES.customers.v4 }), REFUSED);
  });

  test('while the keeper is away locks stay; when it is back it is told again', async () => {
    away.abort();
    await guard.logged('keeper.down');
    guard.lines.forget();
    assert.equal(await lab.inside.connect(SERVER.v4, 25, { from: SOURCES.customers.v4 }), REFUSED);
    await listen();
    await guard.logged('keeper.up');
    assert.deepEqual(await heard.next(), { kind: 'hello', v: VERSION, role: 'guard' });
    peer.send({ kind: 'locks', locks: [] });
    await untilSeen('customers', 'v4', 'gateway');
  });

  test('an exempt destination is not intercepted until its end, which needs no reload', async () => {
    const { v4 } = EXEMPT_SERVER;
    const exempt = async (until: string): Promise<void> => {
      guard.lines.forget();
      const table = `[[exempt_to]]\nprefixes = ["${v4}"]\nreason = "test"\nuntil = "${until}"\n`;
      lab.configure(everyMode + table, FAST);
      guard.child.kill('SIGHUP');
      await guard.logged('config.reloaded');
    };
    await exempt('2100-01-01');
    assert.equal(await lab.inside.connect(v4, 25, { from: SOURCES.customers.v4 }), 'internet');
    await exempt(`${new Date(Date.now() + 3_000).toISOString().slice(0, 19)}Z`);
    for (const end = performance.now() + 60_000; ; await sleep(50)) {
      if ((await lab.inside.connect(v4, 25, { from: SOURCES.customers.v4 })) === 'gateway') break;
      assert.ok(performance.now() < end, 'it is intercepted again');
    }
    lab.configure(everyMode, FAST);
  });

  test('a configuration that is refused changes nothing and is counted, by us or by the supervisor', async () => {
    guard.lines.forget();
    const rules = await lab.sh('iptables-save; ipset save postern-net-customers-4');
    writeFileSync(lab.configPath, 'this is no configuration');
    guard.child.kill('SIGHUP');
    await guard.logged('config.kept');
    guard.tell('{"configRefused":2}');
    assert.equal((await report((one) => one.configErrors > 1)).configErrors, 2);
    const clean = (text: string): string => text.replace(/^[#:].*$/gm, '');
    assert.equal(clean(await lab.sh('iptables-save; ipset save postern-net-customers-4')), clean(rules));
    assert.equal(await lab.inside.connect(SERVER.v4, 25), 'gateway');
  });

  test('rules replaced again and again under load: nothing leaks, nothing is refused, running flows run on', async () => {
    // The customers' prefix moves to and fro between two networks that both intercept; others come and go.
    const moved = everyMode
      .replace('198.51.100.8/29', '198.51.100.64/29')
      .replace('2001:db8:1::/64', '2001:db8:1:70::/64');
    const others =
      '[[network]]\nname = "moved"\nprefixes = ["198.51.100.8/29", "2001:db8:1::/64"]\nfail = "open"\n' +
      '[[network]]\nname = "more"\nprefixes = ["198.51.100.96/28"]\nmode = "block"\n';
    const capture = await lab.capture();
    for (const [i, v] of VERSIONS.entries()) {
      assert.equal(await lab.inside.connect(SERVER[v], 25, { hold: i, from: SOURCES.customers[v] }), 'gateway');
      assert.equal(await lab.inside.connect(SERVER[v], 25, { hold: 10 + i, from: SOURCES.own[v] }), 'internet');
    }
    const leaks = async (): Promise<readonly string[]> =>
      (await capture.packets()).filter(
        (packet) => !Object.values(SOURCES.own).some((own) => packet.includes(` ${own}.`)),
      );
    const loaded = new AbortController();
    const seen = new Map<string, number>();
    const load = VERSIONS.flatMap((v) =>
      (['customers', 'unrouted'] as const).map(async (source) => {
        for (; !loaded.signal.aborted; await sleep(10)) {
          const got = `${source} ${v} ${await lab.inside.connect(SERVER[v], 25, { from: SOURCES[source][v] })}`;
          seen.set(got, (seen.get(got) ?? 0) + 1);
        }
      }),
    );
    for (let i = 0; i < 6; i++) {
      guard.lines.forget();
      lab.configure(i % 2 === 0 ? moved + others : everyMode, FAST);
      guard.child.kill('SIGHUP');
      await guard.logged('config.reloaded');
    }
    loaded.abort();
    await Promise.all(load);
    assert.deepEqual(
      [...seen.keys()].sort(),
      VERSIONS.flatMap((v) => [`customers ${v} gateway`, `unrouted ${v} ${REFUSED}`]).sort(),
    );
    assert.deepEqual(await leaks(), []);
    for (const [i] of VERSIONS.entries()) {
      assert.equal(await lab.inside.say(i), 'again');
      assert.equal(await lab.inside.say(10 + i), 'again');
    }
    assert.equal((await lab.postern('rules', '--verify')).stdout, 'The kernel is as planned.\n');
    assert.ok(
      [...seen.values()].every((times) => times >= 20),
      'there was a load',
    );
    capture.stop();
  });

  test('an interface inside that does not exist is reported and logged, and so is its coming', async () => {
    guard.lines.forget();
    lab.configure(everyMode, FAST);
    await lab.sh(`sed -i 's/inside = .*/inside = ["lan0", "lna0"]/' ${lab.configPath}`);
    guard.child.kill('SIGHUP');
    assert.equal((await guard.logged('interface.missing'))['interface'], 'lna0');
    const state = (present: boolean) => [
      { interface: 'lan0', present: true },
      { interface: 'lna0', present },
    ];
    assert.deepEqual((await report(({ inside }) => inside.length === 2)).inside, state(false));
    await lab.sh('ip link add lna0 type veth peer name lna1');
    assert.equal((await guard.logged('interface.there'))['interface'], 'lna0');
    await report(({ inside }) => inside.every(({ present }) => present));
    await lab.sh('ip link del lna0');
    assert.deepEqual((await report(({ inside }) => inside.some(({ present }) => !present))).inside, state(false));
  });

  test('SIGTERM ends it with status 0', async () => {
    assert.equal(await guard.end('SIGTERM'), 0);
  });
});
