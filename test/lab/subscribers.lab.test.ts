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
networks = ["customers"]
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
[[subscriber]]
name = "small"
prefixes = ["198.51.100.40"]
limit_connections = ["5/minute"]
limit_messages = ["30/hour"]
[[subscriber]]
name = "shop"
prefixes = ["198.51.100.41"]
senders = ["*@shop.example", "*@*.shop.example"]
[[network]]
name = "timed"
prefixes = ["198.51.100.208/28"]
identity = ["header X-AuthUser"]
[[lock_rule]]
name = "for-a-moment"
classes = ["spam"]
networks = ["timed"]
count = 3
within = "10m"
lock = "identity"
for = "2s"
unlocks = 1
`;
const [SPAMMER, SMALL, SHOP, TIMED] = ['198.51.100.130', '198.51.100.40', '198.51.100.41', '198.51.100.210'] as const;
const MINUTE_MS = 60_000;

describe('Shows 1: subscribers, limits, identities and locks', { skip: needsRoot }, () => {
  let whole: Whole;
  before(async () => {
    whole = await startWhole({ tables: { network: NETWORK, more: MORE }, hosts: [SPAMMER, SMALL, SHOP, TIMED] });
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

  /** How many a limit lets through that is used up at once and comes back evenly: the last is what came back meanwhile. */
  function assertLimited(counts: Record<string, number>, of: string, limit: number, periodMs: number, tookMs: number) {
    const { [of]: refused = 0, ...accepted } = counts;
    const passed = Object.values(accepted).reduce((sum, one) => sum + one, 0);
    const most = limit + Math.ceil((tookMs * limit) / periodMs);
    assert.ok(refused > 0 && passed >= limit && passed <= most, `${JSON.stringify(counts)} in ${tookMs} ms`);
  }

  test('the 6th connection in a minute gets 421 4.7.x, the 31st message in an hour 451; restarted, it is still refused', async () => {
    let start = performance.now();
    const [messages] = await told({ kind: 'series', source: SMALL, count: 33 });
    assertLimited(messages ?? {}, '451 limit.messages', 30, 60 * MINUTE_MS, performance.now() - start);
    start = performance.now();
    // The one before has used the first of 5.
    const [connections] = await told({ kind: 'open', source: SMALL, count: 12 });
    assertLimited(connections ?? {}, '421 limit.connection-rate', 4, MINUTE_MS, performance.now() - start);

    const roles = [...whole.processes()].filter(([title]) => /^postern: (?:keeper|worker \d|guard)$/.test(title));
    assert.equal(roles.length, 4);
    const before = new Map(roles);
    for (const pid of before.values()) process.kill(pid, 'SIGKILL');
    const isAnother = (title: string): boolean =>
      ![undefined, before.get(title)].includes(whole.processes().get(title));
    await until(() => [...before.keys()].every(isAnother), 'all of them anew', 60_000);
    await untilReady(whole.gateway, AbortSignal.timeout(120_000), 120_000);
    assert.deepEqual(await told(mail(FIRST, { count: 4, atOnce: 2 })), [{ '451 limit.messages': 4 }]);
    const { stdout } = await whole.gateway.postern('limits', SMALL);
    assert.match(stdout, /^messages\/hour +30 +(?:30|2\d) /m);
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
    const { stdout: top } = await whole.gateway.postern(
      'top',
      '--by',
      'identity',
      '--class',
      'spam',
      '--since',
      '2h',
      '--csv',
    );
    assert.match(top, /^bob,3,0,0,3,3,/m);
    assert.equal((await whole.gateway.postern('unlock', '@app', '--identity', 'bob')).stderr, '');
    await untilTold(mail(APP, { user: 'bob' }), { 250: 1 });
    const { stdout: history } = await whole.gateway.postern('locks', '--history');
    assert.match(
      history,
      /unlocked +bob at @app .*\n.* locked +bob at @app +reject +rule spam-run +3 of spam in 10 min/,
    );
  });

  async function eventually(isSo: () => Promise<boolean>, what: string): Promise<void> {
    for (const deadline = performance.now() + 60_000; !(await isSo()); )
      assert.ok(performance.now() < deadline, `not within a minute: ${what}`);
  }

  /** The HTTP API, as a program asks it. */
  async function api(token: string, method: string, path: string): Promise<{ status: number; text: string }> {
    const script = `const { status, text } = await fetch('http://127.0.0.1:8025${path}', { method: '${method}', headers: {
      authorization: 'Bearer ${token}' } }).then(async (r) => ({ status: r.status, text: await r.text() }));
      console.log(JSON.stringify({ status, text }))`;
    const { network } = whole;
    const args = ['--input-type=module', '-e', script];
    const { stdout, stderr } = await network.gateway.run(process.execPath, args, { deadlineMs: 60_000 });
    assert.equal(stderr, '');
    return JSON.parse(stdout) as { status: number; text: string };
  }

  test('a lock ends by itself as often as its rule says, here once: the second needs the API, which names levels as well', async () => {
    const { stdout } = await whole.gateway.postern('user', 'token', 'console', '--role', 'operate');
    const token = stdout.trim();
    const spam = mail(TIMED, { count: 3, user: 'dave', spam: true });
    const isExpired = async (): Promise<boolean> =>
      / expired +dave at 198\.51\.100\.210\S* /.test((await whole.gateway.postern('locks', '--history')).stdout);
    assert.deepEqual(await told(spam), [{ '550 spam.gtube': 3 }]);
    await eventually(isExpired, 'the first lock has ended by itself');
    await untilTold(mail(TIMED, { user: 'dave' }), { 250: 1 });
    assert.deepEqual(await told(spam), [{ '550 spam.gtube': 3 }]);
    const locked = async (): Promise<object | undefined> =>
      (JSON.parse((await api(token, 'GET', '/api/locks')).text) as { identity?: string }[]).find(
        ({ identity }) => identity === 'dave',
      );
    await eventually(async () => (await locked()) !== undefined, 'the second lock');
    assert.equal('until' in ((await locked()) ?? {}), false, 'it has no end');
    await untilTold(mail(TIMED, { user: 'dave' }), { '550 locked.identity': 1 });
    const path = `/api/locks?subject=${TIMED}&identity=dave`;
    assert.equal((await api(token, 'DELETE', path)).status, 200);
    await untilTold(mail(TIMED, { user: 'dave' }), { 250: 1 });

    const { text } = await api(token, 'GET', `/api/senders/${SMALL}`);
    assert.match(text, /"limit_messages":\{"value":\["30\/hour"\],"level":"subscriber"/);
  });

  test('a sender outside the list of a subscriber is refused, one in it and one of a sub-domain are not', async () => {
    const from = ['a@shop.example', 'a@news.shop.example', 'a@other.example'].map((one) => mail(SHOP, { from: one }));
    assert.deepEqual(await told(...from), [{ 250: 1 }, { 250: 1 }, { '550 sender.not-permitted': 1 }]);
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
