/**
 * What becomes of mail when a scanner hangs, refuses, is slow, says garbage, or is killed: what the configuration says, soon, and
 * without a restart when it is back.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { reportFilters } from '../../src/filter/all.ts';
import { sessionReport } from '../../src/gateway/report.ts';
import type { Metrics } from '../../src/record/metrics.ts';
import { FakeDns } from '../fake/dns.ts';
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
const DEADLINE_MS = 600;
/** Of a loop that has other cases to do as well. */
const SLACK_MS = 600;

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

/** The scanner is back: nobody has to be told, and the host just sends again. */
async function sendUntilTaken(gateway: TestGateway): Promise<void> {
  const startMs = performance.now();
  while ((await send(gateway))?.code !== 250) {
    assert.ok(performance.now() - startMs < 70_000, 'it is not asked again');
    await pause(20);
  }
  await pause(20);
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
  slow: { says: 'stream: OK', afterMs: 5000 },
  'sending garbage': 'garbage',
};

describe('Shows 4: outages: outcome as configured, latency bounded, breaker visible, recovery without restart', {
  concurrency: 8,
}, () => {
  for (const kind of ['clamd', 'rspamd'] as const) {
    for (const [name, outage] of Object.entries(OUTAGES)) {
      const failure = kind === 'clamd' ? 'defer' : 'ignore';
      const title = `${kind} ${name} at ${PER_SECOND} messages a second, failure = "${failure}"`;
      test(title, { timeout: count(60_000, 300_000) }, () => outageOf(kind, outage, failure));
    }
  }
  for (const behaviour of ['hang', 'servfail', 'garbage'] as const) {
    const title = `the name server of auth, ${behaviour}, at ${PER_SECOND} messages a second, failure = "ignore"`;
    test(title, { timeout: count(60_000, 300_000) }, () => nameServerOutage(behaviour));
  }
});

async function outageOf(kind: 'clamd' | 'rspamd', outage: Behaviour, failure: 'defer' | 'ignore'): Promise<void> {
  const service = await new FakeService(kind, SOUND[kind]).start();
  const config = await testConfig(['127.0.0.1:2'], {
    filters: `${kind}.server = "${service.address}"\n${kind}.deadline = "${DEADLINE_MS}ms"\n${kind}.failure = "${failure}"`,
  });
  const relay = new FakeRelay();
  const gateway = await startGateway({ config, relay });
  try {
    const { metrics, report } = await metricsOf(gateway);
    const sound = (outcome: Outcome | undefined): void => assert.equal(outcome?.code, 250);
    // The first of all is slow: nothing is compiled yet.
    await sendUntilTaken(gateway);
    report();
    assert.equal(await valueOf(metrics, `postern_service_up{service="${kind}"}`), 1);

    await service.behave(outage);
    const outcomes = await sendMany(gateway);
    for (const outcome of outcomes) {
      if (failure === 'ignore') sound(outcome);
      else assert.deepEqual([outcome?.code, outcome?.class], [451, 'error.filter']);
      assert.ok((outcome?.ms ?? 0) < DEADLINE_MS + SLACK_MS, `${outcome?.ms} ms`);
    }
    assertQuickAtTheEnd(outcomes);
    report();
    assert.equal(await valueOf(metrics, `postern_service_up{service="${kind}"}`), 0);
    assert.ok((await valueOf(metrics, `postern_service_calls_total{service="${kind}",outcome="failed"}`)) >= 5);
    assert.ok((await valueOf(metrics, `postern_service_calls_total{service="${kind}",outcome="skipped"}`)) >= 10);

    await service.behave(SOUND[kind]);
    while (reportFilters(gateway.rooms.filters)[0]?.up !== true) await sendUntilTaken(gateway);
    const before = service.messages.length;
    for (let i = 0; i < 5; i++) sound(await send(gateway));
    assert.equal(service.messages.length - before, 5, 'each is looked at again');
    report();
    assert.equal(await valueOf(metrics, `postern_service_up{service="${kind}"}`), 1);
  } finally {
    await gateway.close();
    await service.close();
  }
}

/** By the clock: what a pause is longer than asked for is made up for. */
async function sendMany(gateway: TestGateway): Promise<readonly (Outcome | undefined)[]> {
  const running: Promise<Outcome | undefined>[] = [];
  const beganMs = performance.now();
  for (let i = 0; i < count(60, 60 * PER_SECOND); i++) {
    running.push(send(gateway));
    await pause(Math.max(0, beganMs + (running.length * 1000) / PER_SECOND - performance.now()));
  }
  return Promise.all(running);
}

/** Those that came when it had been given up. */
function assertQuickAtTheEnd(outcomes: readonly (Outcome | undefined)[]): void {
  const late = outcomes.slice(-10).map((outcome) => outcome?.ms ?? 0);
  const median = late.sort((x, y) => x - y)[5] ?? 0;
  assert.ok(median < 100, `once it is given up half of them take ${median} ms and more`);
}

async function nameServerOutage(behaviour: 'hang' | 'servfail' | 'garbage'): Promise<void> {
  const dns = await new FakeDns({ '': {}, 'a.example': { TXT: ['v=spf1 -all'] } }).start();
  const config = await testConfig(['127.0.0.1:2'], {
    filters: `resolver = ["${dns.address}"]\nauth.enabled = true\nauth.lookup = "100ms"\nauth.deadline = "${DEADLINE_MS}ms"`,
  });
  const gateway = await startGateway({ config, relay: new FakeRelay() });
  const isUp = (): boolean => reportFilters(gateway.rooms.filters)[0]?.up === true;
  try {
    dns.behaviour = behaviour;
    const outcomes = await sendMany(gateway);
    for (const outcome of outcomes) {
      assert.equal(outcome?.code, 250);
      assert.ok(outcome.ms < DEADLINE_MS + SLACK_MS, `${outcome.ms} ms`);
    }
    assertQuickAtTheEnd(outcomes);
    assert.ok(!isUp());
    dns.behaviour = 'answer';
    while (!isUp()) await sendUntilTaken(gateway);
    await send(gateway);
    const [attempt] = gateway.ledger.attempts.slice(-1);
    assert.match(attempt?.findings.find(({ name }) => name === 'facts')?.evidence ?? '', /^spf=fail/);
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
