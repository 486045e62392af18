/** Who sends, how much, and what happens then: the whole gateway with two workers, and hosts behind it. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { untilReady } from '../../src/lab/gateway.ts';
import { PLACES } from '../../src/lab/network.ts';
import { needsRoot } from '../kit/tier.ts';
import { until } from '../kit/wait.ts';
import { onLines, startWhole, type Whole } from '../kit/whole.ts';

const SENDERS = fileURLToPath(new URL('../kit/senders-main.ts', import.meta.url));
const UPSTREAM = fileURLToPath(new URL('../fake/upstream-main.ts', import.meta.url));
const [FIRST, ALLOWED, APP] = PLACES.hosts.map(({ v4 }) => v4) as [string, string, string];

const NETWORK = `max_connections = 20
limit_messages = ["100/day"]
identity = ["header X-AuthUser"]
`;
const MORE = `[[subscriber]]
name = "allowed"
prefixes = ["${ALLOWED}"]
max_connections = 100
[[subscriber]]
name = "app"
prefixes = ["${APP}"]
[[lock_rule]]
name = "spam-run"
classes = ["spam"]
count = 3
within = "10m"
lock = "identity"
for = "1h"
[[rule]]
name = "watched"
header = "^x-authuser: carol$"
action = "lock-points"
[[network]]
name = "bulk"
prefixes = ["198.51.100.128/26"]
identity = ["header X-AuthUser"]
[[step_rule]]
networks = ["bulk"]
name = "bad-share"
classes = ["spam"]
share = 50
least = 8
within = "10m"
mode = "block"
for = "1h"
`;
const SPAMMER = '198.51.100.130';

describe('Shows 1: subscribers, limits, identities and locks', { skip: needsRoot }, () => {
  let whole: Whole;
  before(async () => {
    whole = await startWhole({ tables: { network: NETWORK, more: MORE }, hosts: [SPAMMER] });
  });
  after(() => whole.close());

  async function told(...orders: object[]): Promise<Record<string, number>[]> {
    const { inside } = whole.network;
    const { stdout, stderr } = await inside.run(process.execPath, [SENDERS, PLACES.direct.v4, JSON.stringify(orders)], {
      deadlineMs: 60_000,
    });
    assert.equal(stderr, '');
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, number>);
  }
  const mail = (source: string, more: object = {}): object => ({ kind: 'mail', source, count: 1, atOnce: 1, ...more });

  /** When what is told is first this; how long it took. */
  async function untilTold(order: object, expected: Record<string, number>): Promise<number> {
    const start = performance.now();
    for (let got = {}; !isDeepStrictEqual(got, expected); [got = {}] = await told(order))
      assert.ok(performance.now() - start < 60_000, `still ${JSON.stringify(got)}`);
    return performance.now() - start;
  }

  test('2 workers do not overshoot: a limit of 100 lets exactly 100 through, and the host knows when to come again', async () => {
    const before = whole.taken.length;
    const [counts] = await told(mail(FIRST, { count: 130, atOnce: 8 }));
    assert.deepEqual(counts, { 250: 100, '451 limit.messages': 30 });
    await until(() => whole.taken.length === before + 100, 'the smarthost has them');
    const { stdout } = await whole.gateway.postern('limits', FIRST);
    assert.match(stdout, /^messages\/day +100 +100 +0 +\d{4}-/m);
  });

  test('limits survive a keeper that is killed', async () => {
    const keeper = (): number | undefined => whole.processes().get('postern: keeper');
    const killed = keeper() as number;
    process.kill(killed, 'SIGKILL');
    await until(() => ![undefined, killed].includes(keeper()), 'a new keeper', 60_000);
    await untilReady(whole.gateway, AbortSignal.timeout(120_000));
    assert.deepEqual(await told(mail(FIRST, { count: 4, atOnce: 2 })), [{ '451 limit.messages': 4 }]);
  });

  test('an allow-listed host opens 50 connections while others get 421', async () => {
    assert.deepEqual(
      await told({ kind: 'open', source: FIRST, count: 50 }, { kind: 'open', source: ALLOWED, count: 50 }),
      [{ 220: 20, '421 limit.connections': 30 }, { 220: 50 }],
    );
  });

  test('an identity lock hits bob and not alice on the same address; unlocked, bob sends again', async () => {
    assert.deepEqual(await told(mail(APP, { count: 3, user: 'bob', spam: true })), [{ '550 spam.gtube': 3 }]);
    const locks = async (): Promise<string> => (await whole.gateway.postern('locks')).stdout;
    while (!(await locks()).includes('bob at @app'));
    await untilTold(mail(APP, { user: 'bob' }), { '550 locked.identity': 1 });
    assert.deepEqual(await told(mail(APP, { user: 'alice' }), mail(APP)), [{ 250: 1 }, { 250: 1 }]);
    const { stdout: top } = await whole.gateway.postern('top', '--by', 'identity', '--class', 'spam', '--csv');
    assert.match(top, /^bob,3,0,0,3,3,/m);
    assert.equal((await whole.gateway.postern('unlock', '@app', '--identity', 'bob')).stderr, '');
    await untilTold(mail(APP, { user: 'bob' }), { 250: 1 });
    const { stdout: history } = await whole.gateway.postern('locks', '--history');
    assert.match(
      history,
      /unlocked +bob at @app .*\n.* locked +bob at @app +reject +rule spam-run +3 of spam in 10 min/,
    );
  });

  test('findings that lead to lock-points refuse nothing, and then lock who made them', async () => {
    assert.deepEqual(await told(mail(APP, { count: 3, user: 'carol' })), [{ 250: 3 }]);
    while (!(await whole.gateway.postern('locks')).stdout.includes('carol at @app'));
    await untilTold(mail(APP, { user: 'carol' }), { '550 locked.identity': 1 });
    assert.deepEqual(await told(mail(APP, { user: 'alice' })), [{ 250: 1 }]);
  });

  test('the ladder: "block" refuses the next SYN within 5 s and touches nobody else; it goes back by itself', async () => {
    const block = async (...how: string[]): Promise<void> => {
      const { stdout } = await whole.gateway.postern('mode', APP, 'block', '--reason', ...how);
      assert.match(stdout, /^@app is in mode block until /);
    };
    await block('ticket 4711', '--for', '1h');
    // 5 s on a machine with nothing else to do.
    assert.ok((await untilTold({ kind: 'open', source: APP, count: 1 }, { 'not connected': 1 })) < 30_000);
    assert.deepEqual(await told(mail(ALLOWED)), [{ 250: 1 }]);
    const { stdout: status } = await whole.gateway.postern('status');
    assert.match(status, /@app +block +.* ticket 4711/);
    await block('ticket 4712', '--for', '1s');
    await untilTold(mail(APP), { 250: 1 });
    // A worker sees by the clock that the step is over; the keeper writes it down when it next looks.
    const ended = / ended +@app +block +the clock +ticket 4712/;
    while (!ended.test((await whole.gateway.postern('mode', '--history')).stdout));
  });

  test('the ladder by hand: "exempt" calls the server itself, "observe" lets spam pass, and back', async () => {
    const { internet } = whole.network;
    const listen = ['--quiet', '--listen', `${PLACES.direct.v4}:25`];
    const server = internet.spawn(process.execPath, [UPSTREAM, ...listen], { stdio: ['ignore', 'pipe', 'inherit'] });
    const heard: string[] = [];
    onLines(server, (line) => heard.push((JSON.parse(line) as { event: string }).event));
    await until(() => heard.includes('listening'), 'the server itself listens', 60_000);
    await whole.gateway.postern('mode', APP, 'exempt', '--reason', 'monitoring');
    await untilTold(mail(APP, { spam: true }), { 250: 1 });
    await until(() => heard.includes('message'), 'the server itself has it', 60_000);
    assert.match((await whole.gateway.postern('status')).stdout, /customers \(subscribers\) is exempt/);
    await whole.gateway.postern('mode', APP, 'observe', '--reason', 'a closer look');
    const before = whole.taken.length;
    while (whole.taken.length === before) assert.deepEqual(await told(mail(APP, { spam: true })), [{ 250: 1 }]);
    await whole.gateway.postern('mode', APP, 'back');
    await untilTold(mail(APP, { spam: true }), { '550 spam.gtube': 1 });
    server.kill();
  });

  test('the ladder by rule: a bad share leads to "block" for a while', async () => {
    // Of different users, so that no identity is locked before.
    const orders = ['a', 'b', 'c', 'd'].map((user) => mail(SPAMMER, { count: 2, spam: true, user }));
    assert.deepEqual(
      await told(...orders),
      orders.map(() => ({ '550 spam.gtube': 2 })),
    );
    await untilTold({ kind: 'open', source: SPAMMER, count: 1 }, { 'not connected': 1 });
    const { stdout } = await whole.gateway.postern('mode', '--history');
    assert.match(stdout, /taken +198\.51\.100\.130 +block +rule bad-share +8 of 8 attempts were spam in 10 min/);
    await whole.gateway.postern('mode', SPAMMER, 'back');
    await untilTold(mail(SPAMMER), { 250: 1 });
  });

  test('effective names the level of each value', async () => {
    const { stdout } = await whole.gateway.postern('effective', ALLOWED);
    assert.match(stdout, /subscriber allowed in network customers, counted as @allowed/);
    assert.match(stdout, /^max_connections +100 +subscriber +\S+postern\.toml:\d+$/m);
    assert.match(stdout, /^limit_messages +\["100\/day"\] +network +\S+postern\.toml:\d+$/m);
    assert.match(stdout, /^fail +"closed" +default$/m);
  });
});
