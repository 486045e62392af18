/** The dead-man's switch: it lapses when workers or the guard are gone, comes back with them, and not otherwise. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { after, before, beforeEach, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { machineMs } from '../../src/kit/clock.ts';
import { everyMode, GuardLab, type GuardProcess, must, SERVER, SOURCES, VERSIONS } from '../kit/guard-lab.ts';
import { count, needsRoot } from '../kit/tier.ts';

const REFUSED = 'ECONNREFUSED';
/**
 * 2.5 s for which an old answer counts, 3 s for which the element lives, and a second between two refreshes: 7 s on a
 * machine with nothing else to do.
 */
const LAPSE_MS = 60_000;
const BACK_MS = 60_000;

suite("the dead-man's switch", { skip: needsRoot }, () => {
  let lab: GuardLab;
  let guard: GuardProcess;
  before(async () => {
    lab = await GuardLab.create();
    lab.configure(everyMode, 'connection_rate = "10000/s"\nconnection_burst = 10000');
    await lab.startProbes();
    guard = await lab.startGuard();
    await guard.logged('intercept.alive');
  });
  after(() => lab.destroy());
  beforeEach(async () => {
    await lab.answerProbes(true);
    while ((await lab.inside.connect(SERVER.v4, 25)) !== 'gateway') await sleep(100);
    guard.lines.forget();
    guard.told.forget();
  });

  const from = { customers: SOURCES.customers, trial: SOURCES.trial };
  async function seen(): Promise<Record<string, string>> {
    const list = await Promise.all(
      VERSIONS.flatMap((v) => [
        lab.inside.connect(SERVER[v], 25, { from: from.customers[v] }).then((got) => [`closed ${v}`, got] as const),
        lab.inside.connect(SERVER[v], 25, { from: from.trial[v] }).then((got) => [`open ${v}`, got] as const),
      ]),
    );
    return Object.fromEntries(list);
  }
  const alive = { 'closed v4': 'gateway', 'closed v6': 'gateway', 'open v4': 'gateway', 'open v6': 'gateway' };
  const lapsed = { 'closed v4': REFUSED, 'closed v6': REFUSED, 'open v4': 'internet', 'open v6': 'internet' };

  test('one of two workers falls silent: reported within 3 s, at most once a second, and nothing lapses', async () => {
    const beganMs = machineMs();
    await lab.answerProbes(false, [2]);
    const told = JSON.parse(await guard.told.next(() => true, 60_000)) as { answeredAt: number };
    assert.ok(machineMs() - told.answeredAt < 10_000, 'time is left to replace it');
    assert.ok(
      told.answeredAt > beganMs - 10_000 && told.answeredAt < machineMs() - 1_900,
      'when it answered last, by the clock of the machine',
    );
    await sleep(3_000);
    assert.ok(guard.told.all.length <= 3, guard.told.all.join());
    assert.ok(guard.told.all.every((line) => line.startsWith('{"silent":2,"answeredAt":')));
    assert.deepEqual(await seen(), alive);
    assert.deepEqual(guard.lines.all, []);
    await lab.answerProbes(true);
  });

  test('no worker answers: closed networks are refused, open ones pass; with the workers interception returns', async () => {
    await lab.answerProbes(false);
    await guard.logged('intercept.lapsed', LAPSE_MS);
    assert.deepEqual(await seen(), lapsed);
    await lab.answerProbes(true);
    await guard.logged('intercept.alive', BACK_MS);
    assert.deepEqual(await seen(), alive);
  });

  test('the guard is killed: the same, with nobody there to say so; a new guard brings interception back', async () => {
    guard.child.kill('SIGKILL');
    const began = performance.now();
    for (; (await seen())['closed v4'] !== REFUSED; await sleep(50)) assert.ok(performance.now() - began < LAPSE_MS);
    assert.deepEqual(await seen(), lapsed);
    guard = await lab.startGuard();
    await guard.logged('intercept.alive', BACK_MS);
    assert.deepEqual(await seen(), alive);
  });

  test('a guard that is restarted in time lets nothing lapse', async () => {
    // In time, however long a start takes here: the element is put in for long, just before. The guard may have renewed it
    // for 3 s in that moment; then once more.
    for (let tries = 1; ; tries++) {
      await lab.setAlive(true);
      assert.equal(await guard.end('SIGTERM'), 0);
      if (/timeout \d{5}/.test(await lab.sh('ipset save postern-alive'))) break;
      assert.ok(tries < 10, 'a guard that ends takes the element away');
      guard = await lab.startGuard();
      await guard.logged('intercept.alive', BACK_MS);
    }
    guard = await lab.startGuard();
    assert.deepEqual(await seen(), alive);
    await guard.logged('intercept.alive', BACK_MS);
  });

  test('intercept, open, intercept under load: flows of either kind run on, none is reset, none stalls', async () => {
    // Below the ports that the host's kernel chooses from. Each is used in every phase, so that a flow meets what the one
    // before it has left behind.
    const ports = Array.from({ length: 40 }, (_, i) => 30_000 + i);
    const held: { readonly hold: number; readonly where: string }[] = [];
    let next = 1;
    const open = async (
      v: 'v4' | 'v6',
      options: { fromPort?: number; keep: boolean },
      expected: string,
    ): Promise<void> => {
      const hold = next++;
      const { fromPort } = options;
      const got = await lab.inside.connect(SERVER[v], 25, {
        from: from.trial[v],
        hold,
        ...(fromPort === undefined ? {} : { fromPort }),
      });
      assert.equal(got, expected, `new flow over ${v} from port ${fromPort}`);
      if (options.keep) held.push({ hold, where: expected });
      else {
        assert.equal(await lab.inside.say(hold), 'again');
        // Whoever took it closes first, and so keeps what is left of it.
        assert.equal(await lab.inside.bye(hold), 'closed');
      }
    };
    const phase = async (expected: string): Promise<void> => {
      for (const v of VERSIONS) {
        for (let i = 0; i < 10; i++) await open(v, { keep: true }, expected);
        await Promise.all(ports.map((fromPort) => open(v, { fromPort, keep: false }, expected)));
      }
    };
    const allCarry = async (): Promise<void> => {
      const carried = await Promise.all(held.map(async ({ hold, where }) => `${where} ${await lab.inside.say(hold)}`));
      assert.deepEqual(
        carried,
        held.map(({ where }) => `${where} again`),
      );
    };

    // One that stalls goes on, if at all, when it has sent again what was lost.
    const sentAgain = async (): Promise<number> => {
      const { stdout } = must(await lab.network.inside.run('cat', ['/proc/net/snmp']));
      const [names = [], values = []] = [...stdout.matchAll(/^Tcp: (.*)$/gm)].map(([, line = '']) => line.split(' '));
      return Number(values[names.indexOf('RetransSegs')]);
    };
    const before = await sentAgain();
    await phase('gateway');
    await lab.answerProbes(false);
    await guard.logged('intercept.lapsed', LAPSE_MS);
    await allCarry();
    await phase('internet');
    await allCarry();
    await lab.answerProbes(true);
    await guard.logged('intercept.alive', BACK_MS);
    await allCarry();
    await phase('gateway');
    await allCarry();
    assert.equal(held.length, 60);
    assert.equal(await sentAgain(), before, 'nothing was lost on the way');
  });

  test('a new connection with the very ends of one that was let through is decided anew', async () => {
    const ends = { from: from.trial.v4, fromPort: 31_000 };
    await lab.answerProbes(false);
    await guard.logged('intercept.lapsed', LAPSE_MS);
    assert.equal(await lab.inside.connect(SERVER.v4, 25, { ...ends, hold: 999 }), 'internet');
    await lab.answerProbes(true);
    await guard.logged('intercept.alive', BACK_MS);
    // Both ends have been restarted, and nobody has told the connection tracking, which keeps the mark for days.
    const noReset = ['-A', 'OUTPUT', '-p', 'tcp', '--tcp-flags', 'RST', 'RST', '-j', 'DROP'];
    for (const side of [lab.network.inside, lab.network.internet]) must(await side.run('iptables', noReset));
    await lab.inside.forget(999);
    for (const side of [lab.network.inside, lab.network.internet]) must(await side.run('iptables', ['-F']));
    assert.match(await lab.sh('conntrack -L -p tcp --orig-port-src 31000 2>/dev/null'), /ESTABLISHED/);
    assert.equal(await lab.inside.connect(SERVER.v4, 25, ends), 'gateway');
  });

  test('with every processor busy nothing lapses and nobody is reported silent', { timeout: 700_000 }, async () => {
    const busy: ChildProcess[] = [];
    try {
      for (let i = 0; i < 2 * availableParallelism(); i++) {
        busy.push(spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }));
      }
      await sleep(count(6_000, 600_000));
    } finally {
      for (const child of busy) child.kill('SIGKILL');
    }
    assert.deepEqual([...guard.lines.all, ...guard.told.all], []);
    assert.deepEqual(await seen(), alive);
  });
});
