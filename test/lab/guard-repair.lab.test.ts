/** The guard as a process: it repairs what is damaged, leaves what is not ours alone, and goes without a trace. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { everyMode, GuardLab, type GuardProcess, SERVER } from '../kit/guard-lab.ts';
import { needsRoot } from '../kit/tier.ts';

/** 5 s on a machine with nothing else to do; a guard that does not look again never repairs. */
const REPAIR_MS = 60_000;

const BOTH = (rest: string): string => `iptables ${rest}; ip6tables ${rest}`;

/** Rules, sets and routes of others, in the same tables and chains as ours. */
const FOREIGN_MANGLE = BOTH('-t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-xmark 0x7/0xff');
const FOREIGN_FILTER = [
  BOTH('-A INPUT -p tcp --dport 22 -j ACCEPT'),
  BOTH('-A FORWARD -m comment --comment "postern is somebody else here" -j ACCEPT'),
  BOTH('-A ADMIN -j RETURN'),
  BOTH('-A FORWARD -p udp -j ADMIN'),
].join('; ');
const FOREIGN = [
  BOTH('-N ADMIN'),
  FOREIGN_MANGLE,
  FOREIGN_FILTER,
  'iptables -t nat -A POSTROUTING -o wan0 -p udp -j MASQUERADE',
  'ipset create admin-set hash:ip; ipset add admin-set 192.0.2.1',
  'ip rule add pref 1000 fwmark 0x7/0xff lookup 77; ip route add unreachable 192.0.2.128/25 table 77',
  'ip rule add pref 30 to 192.0.2.200 prohibit',
].join('; ');

const REPAIRS: Readonly<Record<string, string>> = {
  'mangle flushed': `${BOTH('-t mangle -F')}; ${FOREIGN_MANGLE}`,
  'filter flushed': `${BOTH('-F')}; ${FOREIGN_FILTER}`,
  'one rule deleted': 'iptables -D POSTERN-FORWARD 1',
  'one rule changed': 'ip6tables -t mangle -R POSTERN-MAIL 1 -j ACCEPT',
  'a rule added to our chain': 'iptables -t mangle -I POSTERN-N-customers 1 -j ACCEPT',
  'our jump moved behind a foreign rule': BOTH('-t mangle -I PREROUTING 1 -p tcp --dport 2 -j ACCEPT'),
  'our jump doubled': 'iptables -A FORWARD -j POSTERN-FORWARD',
  'the routing rules deleted':
    'for p in 25 25 26 27 27 27 30; do ip rule del pref $p proto 25; ip -6 rule del pref $p proto 25; done',
  'the end that others jump to deleted': 'ip rule del pref 31; ip -6 rule del pref 31',
  'the route deleted': 'ip route flush table 25252; ip -6 route flush table 25252',
  'a foreign route in our table': 'ip route add 203.0.113.0/24 dev wan0 table 25252',
  'sets emptied': 'ipset flush postern-net-customers-4; ipset flush postern-net-customers-6',
  'a stranger put into a set': 'ipset add postern-net-own-4 198.51.100.200',
  'early demux switched on': 'sysctl -qw net.ipv4.tcp_early_demux=1',
  'forwarding switched off': 'sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0',
};

suite('the guard', { skip: needsRoot }, () => {
  let lab: GuardLab;
  let guard: GuardProcess;
  let foreign: string;
  before(async () => {
    lab = await GuardLab.create();
    await lab.sh(`${FOREIGN}; sysctl -qw net.ipv4.ip_forward=1`);
    foreign = await everythingThere();
    lab.configure(everyMode);
    await lab.startProbes();
    guard = await lab.startGuard();
    await guard.logged('intercept.alive');
  });
  after(() => lab.destroy());
  beforeEach(() => {
    guard.lines.forget();
  });

  /** What stands in the kernel, ours and others', without counters. */
  async function everythingThere(): Promise<string> {
    const text = await lab.sh(
      'iptables-save; ip6tables-save; ipset save; ip rule; ip -6 rule; ip route show table 77; conntrack -F 2>/dev/null',
    );
    return text
      .replace(/^#.*$/gm, '')
      .replace(/ \[\d+:\d+\]/g, '')
      .replace(/ initval \S+/g, '')
      .replace(/\n+/g, '\n');
  }
  const isAsPlanned = async (): Promise<boolean> => (await lab.postern('rules', '--verify')).code === 0;

  test('is ready, as planned, with no more rights than it needs', async () => {
    assert.ok(await isAsPlanned());
    assert.equal(await lab.inside.connect(SERVER.v4, 25), 'gateway');
    assert.equal(await lab.inside.connect(SERVER.v6, 25), 'gateway');
  });

  for (const [what, damage] of Object.entries(REPAIRS)) {
    test(`repairs within 5 s and says so: ${what}`, async () => {
      await lab.sh(damage);
      const from = performance.now();
      const { what: named } = await guard.logged('rules.repaired', REPAIR_MS);
      assert.ok(Array.isArray(named) && named.length > 0, 'what was repaired is named');
      while (!(await isAsPlanned())) assert.ok(performance.now() - from < REPAIR_MS, 'repaired in time');
      assert.equal(await lab.inside.connect(SERVER.v4, 25), 'gateway');
      assert.equal(await lab.inside.connect(SERVER.v6, 25), 'gateway');
    });
  }

  test('what is as planned is left alone: no repair is reported in the following rounds', async () => {
    await sleep(4_500);
    assert.deepEqual(guard.lines.all, []);
  });

  test('SIGTERM ends it with status 0 and leaves the rules standing', async () => {
    assert.equal(await guard.end('SIGTERM'), 0);
    assert.ok(await isAsPlanned());
  });

  test('removal takes away exactly what is ours, without a configuration', async () => {
    await lab.sh(`rm ${lab.configPath}; ${BOTH('-t mangle -D PREROUTING -p tcp --dport 2 -j ACCEPT')}`);
    const removed = await lab.postern('rules', '--remove');
    assert.equal(removed.code, 0, removed.stderr);
    assert.equal(await everythingThere(), foreign);
    assert.equal((await lab.postern('rules', '--remove')).stdout, 'Nothing of ours is in the kernel.\n');
    assert.equal(await lab.inside.connect(SERVER.v4, 25), 'internet');
  });
});
