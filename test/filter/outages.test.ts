/**
 * What becomes of mail when a scanner hangs, refuses, is slow, says garbage, or is killed: what the configuration says, soon, and
 * without a restart when it is back.
 */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { reportFilters } from '../../src/filter/all.ts';
import { sessionReport } from '../../src/gateway/report.ts';
import type { Metrics } from '../../src/record/metrics.ts';
import { type DnsBehaviour, FakeDns } from '../fake/dns.ts';
import { FakeRelay } from '../fake/relay.ts';
import { type Behaviour, FakeService, rspamdSays } from '../fake/service.ts';
import { hear } from '../fuzz/hear.ts';
import { startGateway, type TestGateway, testConfig } from '../kit/gateway.ts';
import { quietMetrics } from '../kit/metrics.ts';
import { startClamd, startRspamd } from '../kit/scanners.ts';
import { count } from '../kit/tier.ts';
import { until } from '../kit/wait.ts';

const HEADER = 'From: a@a.example\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n';
const PER_SECOND = 50;
const DEADLINE_MS = 1500;
/** Ten times that: other cases run in this process, and others on this machine. Nothing but the deadline ends a look before 60 s. */
const BOUND_MS = 10 * DEADLINE_MS;
const ALL_FILTERS = 'deadline = "60s"';

type Outcome = { readonly code: number; readonly class: string | undefined; readonly ms: number };

/** One message from its connection to the reply to its dot; undefined when the gateway ended the connection before. */
async function send(gateway: TestGateway, body = 'hello\r\n'): Promise<Outcome | undefined> {
  const host = gateway.connect();
  const heard = hear(host);
  try {
    host.write('EHLO a.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n');
    await heard.until(/^354 .*\r\n$/m);
    const startMs = performance.now();
    host.write(`${HEADER}\r\n${body}.\r\n`);
    await heard.until(/^354 .*\r\n\d{3} .*\r\n$/m);
    const ms = performance.now() - startMs;
    const [, code, rest = ''] = /^354 .*\r\n(\d{3}) (.*)\r\n$/m.exec(heard.text()) ?? [];
    return { code: Number(code), class: /\[(\S+) id=/.exec(rest)?.[1], ms };
  } catch {
    return undefined;
  } finally {
    host.destroy();
  }
}

/** Some of the longest pauses of a breaker: on a busy machine its first trials may be late as well. */
const RECOVERY_MS = 300_000;

/** The scanner is back: nobody has to be told, and the host just sends again. */
async function sendUntilTaken(gateway: TestGateway): Promise<void> {
  const startMs = performance.now();
  while ((await send(gateway))?.code !== 250) {
    assert.ok(performance.now() - startMs < RECOVERY_MS, 'it is not asked again');
    await pause(20);
  }
}

async function metricsOf(gateway: TestGateway): Promise<{ metrics: Metrics; report: () => void }> {
  const metrics = quietMetrics();
  const counts = sessionReport(gateway.rooms);
  return { metrics, report: () => metrics.sessions(counts()) };
}

const valueOf = async (metrics: Metrics, series: string): Promise<number> => {
  const line = (await metrics.render()).split('\n').find((one) => one.startsWith(`${series} `));
  return Number(line?.split(' ')[1] ?? Number.NaN);
};

const SOUND = { clamd: { says: 'stream: OK' }, rspamd: rspamdSays('no action') } as const;
const OUTAGES: Readonly<Record<string, Behaviour>> = {
  hanging: 'hang',
  refusing: 'refuse',
  slow: { says: 'stream: OK', afterMs: 60_000 },
  'sending garbage': 'garbage',
};

describe('Shows 4: outages: outcome as configured, latency bounded, breaker visible, recovery without restart', {
  concurrency: 4,
  timeout: 1_200_000,
}, () => {
  const timeout = 500_000;
  for (const kind of ['clamd', 'rspamd'] as const) {
    for (const [name, outage] of Object.entries(OUTAGES)) {
      const failure = kind === 'clamd' ? 'defer' : 'ignore';
      const title = `${kind} ${name} at ${PER_SECOND} messages a second, failure = "${failure}"`;
      test(title, { timeout }, (t) => outageOf(t, kind, outage, failure));
    }
  }
  for (const behaviour of ['hang', 'servfail', 'refuse', 'slow', 'garbage'] as const) {
    const title = `the name server of auth, ${behaviour}, at ${PER_SECOND} messages a second, failure = "ignore"`;
    test(title, { timeout }, (t) => nameServerOutage(t, behaviour));
  }
});

async function outageOf(
  t: TestContext,
  kind: 'clamd' | 'rspamd',
  outage: Behaviour,
  failure: 'defer' | 'ignore',
): Promise<void> {
  const service = await new FakeService(kind, SOUND[kind]).start();
  const config = await testConfig(['127.0.0.1:2'], {
    filters: `${ALL_FILTERS}\n${kind}.server = "${service.address}"\n${kind}.deadline = "${DEADLINE_MS}ms"\n${kind}.failure = "${failure}"`,
  });
  const gateway = await startGateway({ config, relay: new FakeRelay() });
  try {
    const { metrics, report } = await metricsOf(gateway);
    const isUp = async (): Promise<boolean> => {
      report();
      return (await valueOf(metrics, `postern_service_up{service="${kind}"}`)) === 1;
    };
    const calls = (outcome: string): Promise<number> =>
      valueOf(metrics, `postern_service_calls_total{service="${kind}",outcome="${outcome}"}`);
    await sendUntilTaken(gateway);
    assert.ok(await isUp());

    await service.behave(outage);
    const outcomes = await sendMany(t, gateway, isUp);
    for (const outcome of outcomes) {
      if (failure === 'ignore') assert.equal(outcome?.code, 250);
      else assert.deepEqual([outcome?.code, outcome?.class], [451, 'error.filter']);
    }
    report();
    assert.ok((await calls('failed')) >= 5);
    assert.ok((await calls('skipped')) >= LATE / 2);

    await service.behave(SOUND[kind]);
    await untilWell(gateway, isUp, async () => {
      const before = service.messages.length;
      return (await send(gateway))?.code === 250 && service.messages.length === before + 1;
    });
  } finally {
    await gateway.close();
    await service.close();
  }
}

/** How many are sent once the service is left alone. */
const LATE = 20;

/**
 * By the clock: what a pause is longer than asked for is made up for. Until the service has been left alone for a while; how
 * long each took is held to the deadline, and of those at the end most do not wait for it.
 */
async function sendMany(
  t: TestContext,
  gateway: TestGateway,
  isUp: () => Promise<boolean>,
): Promise<readonly (Outcome | undefined)[]> {
  const running: Promise<Outcome | undefined>[] = [];
  const beganMs = performance.now();
  let leftAloneAt = Number.POSITIVE_INFINITY;
  while (running.length < Math.max(leftAloneAt + LATE, count(60, 60 * PER_SECOND))) {
    running.push(send(gateway));
    await pause(Math.max(0, beganMs + (running.length * 1000) / PER_SECOND - performance.now()));
    if (leftAloneAt === Number.POSITIVE_INFINITY && !(await isUp())) leftAloneAt = running.length;
  }
  const outcomes = await Promise.all(running);
  const tookMs = outcomes.map((outcome) => outcome?.ms ?? 0);
  const longestMs = Math.max(...tookMs);
  const late = tookMs.slice(-LATE).sort((x, y) => x - y);
  const medianMs = late[LATE / 2] as number;
  t.diagnostic(
    `${outcomes.length} messages, the longest ${longestMs.toFixed(0)} ms; left alone after ${leftAloneAt}, then ${medianMs.toFixed(1)} ms`,
  );
  assert.ok(longestMs < BOUND_MS, `${longestMs} ms`);
  assert.ok(medianMs < DEADLINE_MS, `once it is given up half of them take ${medianMs} ms and more`);
  return outcomes;
}

/** It is asked again by itself, and then, five times in a row, each message is looked at. */
async function untilWell(
  gateway: TestGateway,
  isUp: () => Promise<boolean>,
  isLookedAt: () => Promise<boolean>,
): Promise<void> {
  const endMs = performance.now() + RECOVERY_MS;
  for (let inRow = 0; inRow < 5; ) {
    assert.ok(performance.now() < endMs, 'it is not asked again');
    if (await isUp()) inRow = (await isLookedAt()) ? inRow + 1 : 0;
    else await send(gateway).then(() => pause(20));
  }
}

async function nameServerOutage(t: TestContext, behaviour: DnsBehaviour): Promise<void> {
  const dns = await new FakeDns({ '': {}, 'a.example': { TXT: ['v=spf1 -all'] } }).start();
  const config = await testConfig(['127.0.0.1:2'], {
    filters: `${ALL_FILTERS}\nresolver = ["${dns.address}"]\nauth.enabled = true\nauth.lookup = "500ms"\nauth.deadline = "3s"`,
  });
  const gateway = await startGateway({ config, relay: new FakeRelay() });
  const isUp = async (): Promise<boolean> => reportFilters(gateway.rooms.filters)[0]?.up === true;
  try {
    dns.behaviour = behaviour;
    for (const outcome of await sendMany(t, gateway, isUp)) assert.equal(outcome?.code, 250);
    dns.behaviour = 'answer';
    await untilWell(gateway, isUp, async () => {
      await send(gateway);
      const facts = gateway.ledger.attempts.at(-1)?.findings.find(({ name }) => name === 'facts');
      return facts?.evidence.startsWith('spf=fail') === true;
    });
  } finally {
    await gateway.close();
    dns.close();
  }
}

describe('Shows 6: kill -9 of rspamd or clamd mid-message loses nothing', () => {
  for (const kind of ['clamd', 'rspamd'] as const) {
    test(kind, async () => {
      const dns = await new FakeDns().start();
      const scanner = kind === 'clamd' ? await startClamd() : await startRspamd(dns.port);
      const config = await testConfig(['127.0.0.1:2'], {
        filters: `${kind}.server = "${scanner.socket}"\n${kind}.failure = "defer"`,
      });
      const relay = new FakeRelay();
      const gateway = await startGateway({ config, relay });
      let left = Number.POSITIVE_INFINITY;
      try {
        const filler = 'x y z '.repeat(8).concat('\r\n').repeat(100);
        const texts: string[] = [];
        const outcomes: (Outcome | undefined)[] = [];
        const sender = async (): Promise<void> => {
          while (left-- > 0) {
            const at = texts.push(`message ${texts.length}.\r\n${filler}`) - 1;
            outcomes[at] = await send(gateway, texts[at]);
            // In memory a whole session can be over without a turn of the loop.
            await pause(1);
          }
        };
        const senders = Array.from({ length: 8 }, sender);
        await until(() => relay.messages.length >= count(10, 300), 'messages that are accepted', 60_000);
        await scanner.kill();
        left = 10;
        await Promise.all(senders);
        const names = (some: readonly string[]): number[] =>
          some.map((text) => Number(/message (\d+)\./.exec(text)?.[1])).sort((x, y) => x - y);
        const accepted = names(texts.filter((_, i) => outcomes[i]?.code === 250));
        assert.ok(outcomes.every((outcome) => outcome?.code === 250 || outcome?.class === 'error.filter'));
        assert.ok(
          accepted.length >= 10 && accepted.length <= texts.length - 10,
          `${accepted.length} of ${texts.length} accepted`,
        );
        const arrived = names(relay.messages.map(({ body }) => body.toString('latin1')));
        assert.deepEqual(arrived, accepted, 'told 250 if and only if it went on');

        await scanner.start();
        await sendUntilTaken(gateway);
      } finally {
        left = 0;
        await gateway.close();
        await scanner.close();
        dns.close();
      }
    });
  }
});

test('a connection to Rspamd is kept, and a new one made when it has closed that', async () => {
  const service = await new FakeService('rspamd', rspamdSays('no action')).start();
  const config = await testConfig(['127.0.0.1:2'], {
    filters: `rspamd.server = "${service.address}"\nrspamd.failure = "defer"`,
  });
  const gateway = await startGateway({ config, relay: new FakeRelay() });
  try {
    for (let i = 0; i < 10; i++) assert.equal((await send(gateway))?.code, 250);
    assert.equal(service.connections, 1);
    await service.close();
    await service.start();
    for (let i = 0; i < 10; i++) assert.equal((await send(gateway))?.code, 250);
    assert.equal(service.connections, 2);
    assert.equal(service.headers['settings-id'], 'postern');
  } finally {
    await gateway.close();
    await service.close();
  }
});
