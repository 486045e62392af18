/** `postern probe` over a router that lets port 25 through, answers for it, refuses it, drops it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, beforeEach, suite, test } from 'node:test';
import { createNetwork, type LabNetwork, PLACES, type Ran } from '../../src/lab/network.ts';
import { Agent } from '../kit/agent.ts';
import { must } from '../kit/guard-lab.ts';
import { needsRoot } from '../kit/tier.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
const VERSIONS = ['v4', 'v6'] as const;

suite('postern probe', { skip: needsRoot }, () => {
  let network: LabNetwork;
  before(async () => {
    network = await createNetwork();
    const internet = await Agent.start(network.internet);
    const gateway = await Agent.start(network.gateway);
    // It would say only once a second that a SYN has lived too long.
    must(await network.gateway.run('sysctl', ['-qw', 'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0']));
    for (const any of ['0.0.0.0', '::']) await gateway.listen(any, 2525, 'gateway');
    for (const v of VERSIONS) for (const port of [25, 587]) await internet.listen(PLACES.direct[v], port, 'internet');
  });
  after(() => network.destroy());
  beforeEach(() => onRouter('-F FORWARD; $t -t nat -F'));

  async function onRouter(rest: string): Promise<void> {
    must(await network.gateway.run('sh', ['-ec', `for t in iptables ip6tables; do $t ${rest}; done`]));
  }
  const probe = (...args: string[]): Promise<Ran> =>
    network.inside.run(process.execPath, [MAIN, 'probe', ...args], { deadlineMs: 60_000 });

  for (const v of VERSIONS) {
    const [server, router] = [PLACES.direct[v], PLACES.gatewayInside[v]];
    test(`IP${v}: nobody in between`, async () => {
      const { code, stdout } = await probe(server);
      assert.equal(
        stdout,
        `HOP  PORT 25${' '.repeat(server.length + 3)}PORT 587
1    ${router.padEnd(server.length + 8)}  ${router}
2    ${server} accepts  ${server} accepts

Both are answered after 2 hops: nobody in between answers for port 25, or for both.
`,
      );
      assert.equal(code, 0);
    });

    test(`IP${v}: somebody on the way answers for port 25, refuses it, or drops it`, async () => {
      await onRouter('-t nat -A PREROUTING -p tcp --dport 25 -j REDIRECT --to-ports 2525');
      const answers = await probe(server);
      assert.match(
        answers.stdout,
        /Port 25 is answered after 1 hop, port 587 after 2 hops: somebody on the way answers/,
      );
      assert.equal(answers.code, 1);

      await onRouter('-t nat -F; $t -A FORWARD -p tcp --dport 25 -j REJECT');
      const refuses = await probe(server);
      assert.ok(refuses.stdout.includes(`Port 25 is refused by ${router}.`), refuses.stdout);
      assert.equal(refuses.code, 1);

      await onRouter('-F FORWARD; $t -A FORWARD -p tcp --dport 25 -j DROP');
      const { stdout, code } = await probe(server, '--hops', '2', '--json');
      const { ports } = JSON.parse(stdout) as { ports: Record<string, { answeredAfter?: number; hops: object[] }> };
      assert.deepEqual(ports, {
        25: { hops: [{ kind: 'passed', by: router }, { kind: 'silent' }] },
        587: { answeredAfter: 2, hops: [{ kind: 'passed', by: router }, { kind: 'open' }] },
      });
      assert.equal(code, 1);
    });
  }

  test('wrong arguments are told', async () => {
    for (const [args, said] of [
      [[], /name one address/],
      [['mx.example.org'], /name one address/],
      [['192.0.2.25', '--hops', '0'], /--hops: expected a number from 1 to 64/],
    ] as const) {
      const { code, stderr } = await probe(...args);
      assert.equal(code, 2);
      assert.match(stderr, said);
    }
  });
});
