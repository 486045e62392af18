/** Where a connection ends up: every mode, both families, workers alive and dead; and what was counted of it. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { userOf } from '../../src/kit/users.ts';
import { PLACES } from '../../src/lab/network.ts';
import { Agent } from '../kit/agent.ts';
import { EXEMPT_SERVER, everyMode, GuardLab, must, SERVER, SOURCES, type Source, VERSIONS } from '../kit/guard-lab.ts';
import { needsRoot } from '../kit/tier.ts';

const REFUSED = 'ECONNREFUSED';
const EXEMPT = '[[exempt_to]]\nprefixes = ["203.0.113.99/32", "2001:db8:2::99/128"]\nreason = "test"\n';

suite('the kernel decides', { skip: needsRoot }, () => {
  let lab: GuardLab;
  before(async () => {
    lab = await GuardLab.create();
    lab.configure(everyMode + EXEMPT);
    await lab.applyRules();
  });
  after(() => lab.destroy());

  /** What each source sees when it connects to the server, as `source version`. */
  async function seen(server: { v4: string; v6: string }): Promise<Record<string, string>> {
    const cases = (Object.keys(SOURCES) as Source[]).flatMap((source) => VERSIONS.map((v) => ({ source, v })));
    const results = await Promise.all(
      cases.map(async ({ source, v }) => {
        // shorter than the host's second SYN where it is dropped, so that it counts once
        const short = alike[source as keyof typeof alike] === 'timeout' ? { timeoutMs: 300 } : {};
        const outcome = await lab.inside.connect(server[v], 25, { from: SOURCES[source][v], ...short });
        return [`${source} ${v}`, outcome] as const;
      }),
    );
    return Object.fromEntries(results);
  }

  const bothVersions = (of: Readonly<Record<Source, string>>): Record<string, string> =>
    Object.fromEntries(Object.entries(of).flatMap(([source, what]) => VERSIONS.map((v) => [`${source} ${v}`, what])));

  const alike = { own: 'internet', submission: REFUSED, printers: 'timeout', unrouted: REFUSED } as const;

  test('what is applied is what was planned, in words that need no learning', async () => {
    const verified = await lab.postern('rules', '--verify');
    assert.equal(verified.stdout, 'The kernel is as planned.\n');
  });

  test('before any worker has answered: closed refuses, open lets through', async () => {
    assert.deepEqual(await seen(SERVER), bothVersions({ customers: REFUSED, trial: 'internet', ...alike }));
    assert.deepEqual(await lab.refused(), {
      'customers dead': 2,
      'submission smarthost-only': 2,
      'printers block': 2,
      'unrouted unrouted': 2,
    });
  });

  test('with workers: intercepted, and each refusal counted once more', async () => {
    await lab.setAlive(true);
    await lab.refused();
    assert.deepEqual(await seen(SERVER), bothVersions({ customers: 'gateway', trial: 'gateway', ...alike }));
    assert.deepEqual(await lab.refused(), {
      'submission smarthost-only': 2,
      'printers block': 2,
      'unrouted unrouted': 2,
    });
  });

  test('refused connections are counted by source, IPv6 by /64', async () => {
    const { topRefused } = await lab.counted();
    const of = Object.fromEntries(topRefused.map(({ source, packets }) => [source, packets]));
    assert.deepEqual(of, {
      '198.51.100.10': 1,
      '2001:db8:1::/64': 1,
      '198.51.100.40': 2,
      '2001:db8:1:40::/64': 2,
      '198.51.100.50': 2,
      '2001:db8:1:50::/64': 2,
      '198.51.100.200': 2,
      '2001:db8:1:1::/64': 2,
    });
  });

  test('an exempt destination is reached directly, counted by prefix; modes that refuse and strangers win', async () => {
    const expected = { customers: 'internet', trial: 'internet', ...alike };
    assert.deepEqual(await seen(EXEMPT_SERVER), bothVersions(expected));
    assert.deepEqual((await lab.counted()).exemptTo, [
      { prefix: '2001:db8:2::99/128', packets: 3 },
      { prefix: '203.0.113.99/32', packets: 3 },
    ]);
  });

  test('a locked source reaches nothing on port 25, whatever its mode and the destination', async () => {
    await lab.sh('ipset add postern-locked-4 198.51.100.30; ipset add postern-locked-6 2001:db8:1:30::/64');
    for (const v of VERSIONS) {
      for (const server of [SERVER, EXEMPT_SERVER]) {
        assert.equal(await lab.inside.connect(server[v], 25, { from: SOURCES.own[v] }), REFUSED);
      }
    }
    assert.equal((await lab.refused())['own locked'], 4);
    await lab.sh('ipset flush postern-locked-4; ipset flush postern-locked-6');
  });

  test('subscribers are treated as they say, inside each other and inside any network; then as their networks again', async () => {
    const one = (name: string, prefixes: string, rest: string): string =>
      `[[subscriber]]\nname = "${name}"\nprefixes = [${prefixes}]\n${rest}\n`;
    // customers' host in a blocked range is let through; own's is intercepted, printers' may send, trial's is what it was.
    const subscribers = [
      one('range', '"198.51.100.8/30", "2001:db8:1::/64"', 'mode = "block"'),
      one('inner', '"198.51.100.10"', 'mode = "exempt"'),
      one('own-host', '"198.51.100.30", "2001:db8:1:30::/64"', 'mode = "enforce"'),
      one('printer', '"198.51.100.50", "2001:db8:1:50::/64"', 'mode = "observe"\nrefuse = "reset"'),
      one('trial-host', '"198.51.100.20"', 'max_connections = 3'),
    ];
    lab.configure(everyMode + subscribers.join('') + EXEMPT);
    await lab.applyRules();
    assert.equal((await lab.postern('rules', '--verify')).stdout, 'The kernel is as planned.\n');
    assert.deepEqual(await seen(SERVER), {
      ...bothVersions({ customers: 'gateway', trial: 'gateway', ...alike, own: 'gateway', printers: 'gateway' }),
      'customers v4': 'internet',
      'customers v6': REFUSED,
    });
    // What was an exception is a member, and the other way round.
    lab.configure(everyMode + subscribers.slice(1).join('') + EXEMPT);
    await lab.applyRules();
    assert.equal((await lab.postern('rules', '--verify')).stdout, 'The kernel is as planned.\n');
    lab.configure(everyMode + EXEMPT);
    await lab.applyRules();
    assert.deepEqual(await seen(SERVER), bothVersions({ customers: 'gateway', trial: 'gateway', ...alike }));
    await lab.refused();
  });

  test('a worker sees the true ends of a connection', async () => {
    await lab.gateway.accepted();
    await lab.inside.connect(SERVER.v4, 25, { from: SOURCES.customers.v4 });
    await lab.inside.connect('203.0.113.77', 25, { from: SOURCES.customers.v4 });
    assert.deepEqual(await lab.gateway.accepted(), [
      { from: SOURCES.customers.v4, to: SERVER.v4, port: 25 },
      { from: SOURCES.customers.v4, to: '203.0.113.77', port: 25 },
    ]);
  });

  test('the port 25 of the gateway itself is intercepted like any other', async () => {
    for (const to of [...Object.values(PLACES.gatewayInside), ...Object.values(PLACES.gatewayOutside)]) {
      assert.equal(await lab.inside.connect(to, 25), 'gateway', to);
    }
  });

  test("the workers' port cannot be called by its number, from neither side nor from the gateway itself", async () => {
    const { v4, v6 } = PLACES.gatewayOutside;
    for (const to of [v4, v6]) {
      assert.equal(await lab.internet.connect(to, 2525), REFUSED);
      assert.equal(await lab.inside.connect(to, 2525), REFUSED);
      assert.equal(await lab.gateway.connect(to, 2525), REFUSED);
      // somebody else's port of that number is nobody's business
      assert.equal(await lab.inside.connect(to === v4 ? SERVER.v4 : SERVER.v6, 2525), 'internet');
    }
    assert.equal((await lab.refused())['- direct'], 6);
  });

  test('submission ports and mail from outside to hosts inside are never touched', async () => {
    for (const source of Object.values(SOURCES)) {
      for (const v of VERSIONS) {
        assert.equal(await lab.inside.connect(SERVER[v], 587, { from: source[v] }), 'internet');
        assert.equal(await lab.internet.connect(source[v], 25), 'inside');
      }
    }
  });

  test('a server outside that calls from its own port 25 gets its answers', async () => {
    const from = PLACES.smarthost.v4;
    assert.equal(await lab.internet.connect(SOURCES.customers.v4, 25, { from, fromPort: 25 }), 'inside');
  });

  test('a SYN to port 25 is no answer, even where the tracked connection began from there', async () => {
    // Both ends call each other from the very ports they call: to the connection tracking, the host's SYN is an answer to
    // the server's, and TCP would make one connection of both.
    const server = { address: PLACES.smarthost.v4, port: 25 };
    const host = { address: PLACES.hosts[2].v4, port: 2600 };
    must(await lab.network.inside.run('iptables', `-A INPUT -p tcp --dport ${host.port} --syn -j DROP`.split(' ')));
    const capture = await lab.capture();
    const options = { timeoutMs: 2_500 };
    const fromServer = lab.internet.connect(host.address, host.port, {
      ...options,
      from: server.address,
      fromPort: server.port,
    });
    await lab.sh(`until conntrack -L -p tcp --sport 25 2>/dev/null | grep -q SYN_SENT; do sleep 0.05; done`);
    const fromHost = await lab.inside.connect(server.address, server.port, {
      ...options,
      from: host.address,
      fromPort: host.port,
    });
    assert.notEqual(fromHost, 'internet');
    assert.deepEqual(await capture.packets(), []);
    assert.equal(await fromServer, 'timeout');
    capture.stop();
  });

  test('from the gateway itself only the workers reach port 25, counted', async () => {
    const worker = await Agent.start(lab.network.gateway, userOf('worker').uid);
    const other = await Agent.start(lab.network.gateway, userOf('keeper').uid);
    for (const v of VERSIONS) {
      assert.equal(await worker.connect(SERVER[v], 25), 'internet');
      assert.equal(await other.connect(SERVER[v], 25), REFUSED);
      assert.equal(await lab.gateway.connect(SERVER[v], 25), REFUSED);
      assert.equal(await other.connect(SERVER[v], 587), 'internet');
    }
    assert.equal((await lab.refused())['- output'], 4);
    // Loopback is not "out": what listens there may be talked to.
    await lab.gateway.listen('127.0.0.1', 25, 'loopback');
    assert.equal(await other.connect('127.0.0.1', 25), 'loopback');
  });

  for (const [how, check] of [
    ['strict', 1],
    ['loose', 2],
  ] as const) {
    test(`settings that others may need change nothing: ${how} reverse path checks, marks that are reflected`, async () => {
      const set = (on: boolean): Promise<string> =>
        lab.sh(
          `for link in all lan0 wan0; do sysctl -qw net.ipv4.conf.$link.rp_filter=${on ? check : 0}; done; ` +
            `for key in ipv4.conf.all.src_valid_mark ipv4.fwmark_reflect ipv6.fwmark_reflect ipv4.tcp_fwmark_accept; ` +
            `do sysctl -qw net.$key=${on && check === 1 ? 1 : 0}; done`,
        );
      await set(true);
      assert.deepEqual(await seen(SERVER), bothVersions({ customers: 'gateway', trial: 'gateway', ...alike }));
      const exempt = { customers: 'internet', trial: 'internet', ...alike };
      assert.deepEqual(await seen(EXEMPT_SERVER), bothVersions(exempt));
      await lab.setAlive(false);
      assert.deepEqual(await seen(SERVER), bothVersions({ customers: REFUSED, trial: 'internet', ...alike }));
      await lab.setAlive(true);
      await set(false);
    });
  }

  test('a flood is refused before accept: the burst passes, the rest is refused and counted', async () => {
    lab.configure(everyMode, 'connection_rate = "1/m"\nconnection_burst = 5');
    await lab.applyRules();
    for (const v of VERSIONS) {
      const results: string[] = [];
      for (let i = 0; i < 9; i++) results.push(await lab.inside.connect(SERVER[v], 25));
      assert.deepEqual(results, [...Array(5).fill('gateway'), ...Array(4).fill(REFUSED)]);
      assert.equal(await lab.inside.connect(SERVER[v], 25, { from: SOURCES.trial[v] }), 'gateway', 'another source');
    }
    assert.equal((await lab.refused())['customers rate'], 8);
  });

  test('a running flow outlives the workers, its tracking, its network and its interface in the configuration', async () => {
    await lab.setAlive(true);
    for (const [hold, v] of VERSIONS.entries()) {
      assert.equal(await lab.inside.connect(SERVER[v], 25, { hold, from: SOURCES.trial[v] }), 'gateway');
    }
    const carries = async (): Promise<void> => {
      for (const [hold] of VERSIONS.entries()) assert.equal(await lab.inside.say(hold), 'again');
    };
    await lab.setAlive(false);
    await carries();
    await lab.sh('conntrack -F 2>/dev/null');
    await carries();
    lab.configure('[[network]]\nname = "else"\nprefixes = ["192.0.2.0/24"]\n');
    await lab.sh(`sed -i 's/inside = .*/inside = ["wan0"]/' ${lab.configPath}`);
    await lab.applyRules();
    await carries();
  });

  test('two networks inside, routed to each other by the gateway: intercepted like any other', async () => {
    lab.configure(`${everyMode}[[network]]\nname = "others"\nprefixes = ["203.0.113.0/24", "2001:db8:2::/64"]\n`, '');
    await lab.sh(`sed -i 's/inside = .*/inside = ["lan0", "wan0"]/' ${lab.configPath}`);
    await lab.applyRules();
    await lab.setAlive(true);
    for (const v of VERSIONS) {
      assert.equal(await lab.inside.connect(SERVER[v], 25, { from: SOURCES.customers[v] }), 'gateway');
      assert.equal(await lab.internet.connect(SOURCES.customers[v], 25), 'gateway');
    }
  });
});
