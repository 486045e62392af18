/**
 * No way round: whatever single thing is taken out of the kernel, and when all tables are, nothing of a closed network
 * or of a stranger gets to port 25. And the tests of that see a leak when there is one.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, beforeEach, suite, test } from 'node:test';
import { userOf } from '../../src/kit/users.ts';
import { Agent } from '../kit/agent.ts';
import { type Capture, everyMode, GuardLab, must, SERVER, SOURCES, VERSIONS } from '../kit/guard-lab.ts';
import { needsRoot } from '../kit/tier.ts';

const BOTH = (rest: string): string => `iptables ${rest}; ip6tables ${rest}`;
const ALL_TABLES = ['raw', 'mangle', 'nat', 'filter', 'security'];
const FLUSH_ALL = ALL_TABLES.map((table) => BOTH(`-t ${table} -F`)).join('; ');
const FENCE = 'pref 30 iif lan0 ipproto tcp dport 25 prohibit protocol 25';

/** What somebody, or a program of the system, may do to us. */
const DAMAGE: Readonly<Record<string, string>> = {
  ...Object.fromEntries(ALL_TABLES.map((table) => [`table ${table} flushed`, BOTH(`-t ${table} -F`)])),
  'every table flushed': FLUSH_ALL,
  'every table flushed and every chain deleted': `${FLUSH_ALL}; ${ALL_TABLES.map((table) => BOTH(`-t ${table} -X`)).join('; ')}`,
  'connection tracking emptied': 'conntrack -F',
  'the routing fence removed': `ip rule del ${FENCE}; ip -6 rule del ${FENCE}`,
  'all of our routing rules removed':
    'ip rule flush protocol 25; ip -6 rule flush protocol 25; ip rule | grep -c . | grep -qx 3',
  'our routing table emptied': 'ip route flush table 25252; ip -6 route flush table 25252',
  'all sets emptied': 'ipset flush',
  'a foreign rule before ours that accepts': BOTH('-t mangle -I PREROUTING -j ACCEPT'),
  'a foreign rule before ours that accepts what is forwarded': BOTH('-I FORWARD -j ACCEPT'),
};

suite('nothing gets past', { skip: needsRoot }, () => {
  let lab: GuardLab;
  let capture: Capture;
  let other: Agent;
  before(async () => {
    lab = await GuardLab.create();
    lab.configure(everyMode);
    await lab.applyRules();
    capture = await lab.capture();
    other = await Agent.start(lab.network.gateway, userOf('keeper').uid);
  });
  after(() => lab.destroy());
  beforeEach(async () => {
    // Foreign rules of the case before are taken away, then ours put back where they are missing.
    await lab.sh(`${FLUSH_ALL}; ipset flush`);
    await lab.applyRules();
    await lab.setAlive(true);
  });

  /** Connects from a closed network, a stranger, a locked-down network and the gateway, to port 25 and to the control. */
  async function tryEverything(): Promise<readonly string[]> {
    const before = (await capture.packets()).length;
    await Promise.all(
      VERSIONS.flatMap((v) => [
        ...(['customers', 'unrouted', 'submission', 'printers'] as const).map((source) =>
          lab.inside.connect(SERVER[v], 25, { from: SOURCES[source][v], timeoutMs: 300 }),
        ),
        other.connect(SERVER[v], 25, { timeoutMs: 300 }),
      ]),
    );
    for (const v of VERSIONS) {
      assert.equal(await lab.inside.connect(SERVER[v], 587), 'internet', 'the control is reached');
      assert.equal(await lab.internet.connect(SOURCES.customers[v], 25), 'inside', 'mail from outside is untouched');
    }
    return (await capture.packets()).slice(before);
  }

  for (const [what, damage] of Object.entries(DAMAGE)) {
    for (const workers of ['alive', 'dead'] as const) {
      test(`${what}, workers ${workers}`, async () => {
        await lab.setAlive(workers === 'alive');
        await lab.sh(damage);
        assert.deepEqual(await tryEverything(), []);
      });
    }
  }

  test('a leak is seen: with the fences gone as well, packets get through in both families', async () => {
    await lab.sh(`${FLUSH_ALL}; ip rule del ${FENCE}; ip -6 rule del ${FENCE}`);
    const leaked = await tryEverything();
    for (const address of Object.values(SOURCES.customers)) {
      assert.ok(
        leaked.some((packet) => packet.includes(` ${address}.`)),
        `${address} in ${leaked.join('\n')}`,
      );
    }
  });

  test('each fence holds alone: FORWARD without routing, routing without FORWARD', async () => {
    const noDecision = BOTH('-t mangle -F');
    await lab.sh(`${noDecision}; ip rule del ${FENCE}; ip -6 rule del ${FENCE}`);
    assert.deepEqual(await tryEverything(), []);
    assert.ok(((await lab.refused())['- fence'] ?? 0) >= 8, 'FORWARD has counted them');
    await lab.sh(`${noDecision}; ${BOTH('-F POSTERN-FORWARD')}`);
    const leaked = await tryEverything();
    assert.notDeepEqual(leaked, [], 'without either there is nothing left');
  });

  test('a host cannot hide its SYN behind another flag or in fragments', async () => {
    const forge = async (from: string): Promise<readonly string[]> => {
      const before = (await capture.packets()).length;
      const sent = await lab.network.inside.run(process.execPath, ['-e', FORGE, from, SERVER.v4]);
      assert.equal(sent.stdout, 'sent', sent.stderr);
      return (await capture.packets()).slice(before);
    };
    for (const alive of [true, false]) {
      await lab.setAlive(alive);
      assert.deepEqual(await forge(SOURCES.customers.v4), []);
    }
    assert.ok((await forge(SOURCES.own.v4)).length >= 7, 'an exempt host may, and so they are seen');
  });

  test('without a configuration port 25 is refused, and all else is forwarded; then one takes over', async () => {
    const nothingSaid = async (): Promise<void> => {
      await lab.sh(FLUSH_ALL);
      must(await lab.postern('rules', '--remove'));
      await lab.sh('sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0');
      writeFileSync(lab.configPath, '# still to be written\n');
      await lab.applyRules();
    };
    for (const damage of [FLUSH_ALL, 'ip rule flush protocol 25; ip -6 rule flush protocol 25']) {
      await nothingSaid();
      await lab.sh(damage);
      const before = (await capture.packets()).length;
      for (const v of VERSIONS) {
        for (const source of ['customers', 'own', 'unrouted'] as const)
          assert.notEqual(await lab.inside.connect(SERVER[v], 25, { from: SOURCES[source][v] }), 'internet');
        assert.equal(await lab.inside.connect(SERVER[v], 587), 'internet');
      }
      assert.deepEqual((await capture.packets()).slice(before), []);
    }
    await nothingSaid();
    for (const v of VERSIONS) {
      // mangle/PREROUTING decides nothing; the routing fence answers with an ICMP message, FORWARD with a reset.
      const from = SOURCES.customers[v];
      assert.notEqual(await lab.inside.connect(SERVER[v], 25, { from }), 'timeout', 'hosts are told at once');
    }
    const wrong = 'nonsense = 1\n';
    writeFileSync(lab.configPath, wrong);
    const refused = await lab.postern('guard', '--rules-only');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /nonsense/);

    lab.configure(everyMode);
    await lab.applyRules();
    assert.equal(must(await lab.postern('rules', '--verify')).stdout.trim(), 'The kernel is as planned.');
    await lab.setAlive(true);
    for (const v of VERSIONS) {
      assert.equal(await lab.inside.connect(SERVER[v], 25, { from: SOURCES.customers[v] }), 'gateway');
      assert.equal(await lab.inside.connect(SERVER[v], 25, { from: SOURCES.own[v] }), 'internet');
    }
  });
});

/** Writes raw IPv4 packets through koffi: one SYN for each odd combination of flags, and one cut into two fragments. */
const FORGE = `
const koffi = require('koffi');
const libc = koffi.load(null);
const socket = libc.func('int socket(int, int, int)');
const sendto = libc.func('long sendto(int, const void *, size_t, int, const void *, uint32_t)');
const [from, to] = process.argv.slice(1);
const quad = (text) => Buffer.from(text.split('.').map(Number));
const fd = socket(2, 3, 255);
if (fd < 0) throw new Error('no raw socket');
function sum(bytes) {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i] << 8) + (bytes[i + 1] ?? 0);
  while (total >> 16) total = (total & 0xffff) + (total >> 16);
  return ~total & 0xffff;
}
function tcp(flags, port) {
  const head = Buffer.alloc(24);
  head.writeUInt16BE(port, 0); head.writeUInt16BE(25, 2); head.writeUInt32BE(1, 4);
  head[12] = 6 << 4; head[13] = flags; head.writeUInt16BE(65535, 14);
  head.set([2, 4, 5, 180], 20);
  const pseudo = Buffer.concat([quad(from), quad(to), Buffer.from([0, 6, 0, head.length])]);
  head.writeUInt16BE(sum(Buffer.concat([pseudo, head])), 16);
  return head;
}
function send(payload, fragment) {
  const ip = Buffer.alloc(20);
  ip[0] = 0x45; ip.writeUInt16BE(20 + payload.length, 2); ip.writeUInt16BE(4711, 4); ip.writeUInt16BE(fragment, 6);
  ip[8] = 64; ip[9] = 6; ip.set(quad(from), 12); ip.set(quad(to), 16);
  const address = Buffer.concat([Buffer.from([2, 0, 0, 0]), quad(to), Buffer.alloc(8)]);
  const packet = Buffer.concat([ip, payload]);
  if (sendto(fd, packet, packet.length, 0, address, 16) < 0) throw new Error('not sent');
}
let port = 30000;
for (const flags of [0x02, 0x03, 0x0a, 0x22, 0xc2, 0x42, 0x2b]) send(tcp(flags, port++), 0);
const cut = tcp(0x02, port);
send(cut.subarray(0, 16), 0x2000);
send(cut.subarray(16), 2);
process.stdout.write('sent');
`;
