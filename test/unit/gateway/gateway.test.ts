/** What happens to a connection before its first command: who is let in, and what is given back when it does not stay. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { afterEach, describe, test } from 'node:test';
import type { Admission } from '../../../src/ledger/client.ts';
import { FakeRelay } from '../../fake/relay.ts';
import { hear } from '../../fuzz/hear.ts';
import { startGateway, type TestGateway, testConfig } from '../../kit/gateway.ts';
import { until } from '../../kit/wait.ts';

let gateway: TestGateway;
afterEach(() => gateway.close());

async function start(network = ''): Promise<void> {
  gateway = await startGateway({ config: await testConfig(['127.0.0.1:2'], { network }), relay: new FakeRelay() });
}

/** The ledger's answer waits until it is given. */
function withheld(): (answer: Admission) => void {
  const { promise, resolve } = Promise.withResolvers<Admission>();
  const { ledger } = gateway;
  const admit = ledger.admit.bind(ledger);
  ledger.admit = async (source) => {
    ledger.admission = await promise;
    return admit(source);
  };
  return resolve;
}

const held = (): number[] => [...gateway.ledger.held.values()];
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('all addresses of a subscriber are admitted as one, by its own limit, and recorded under its name', async () => {
  await start(
    '[[subscriber]]\nname = "web-1"\nprefixes = ["198.51.100.7", "2001:db8:1:7::/64"]\nmax_connections = 3\nmode = "observe"\n',
  );
  const asked: unknown[] = [];
  gateway.ledger.admit = async (...of) => {
    asked.push(of);
    return 'ok';
  };
  for (const from of ['198.51.100.7', '2001:db8:1:7::1', '198.51.100.8']) {
    const host = gateway.connect(from);
    host.end('EHLO a.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nQUIT\r\n');
    await hear(host).end();
  }
  assert.deepEqual(asked, [
    ['@web-1', 3],
    ['@web-1', 3],
    ['198.51.100.8', 200],
  ]);
  const attempts = await gateway.ledger.recorded(3);
  assert.deepEqual(
    attempts.map(({ subscriber, mode, network }) => [subscriber, mode, network]),
    [
      ['web-1', 'observe', 'customers'],
      ['web-1', 'observe', 'customers'],
      [undefined, 'enforce', 'customers'],
    ],
  );
});

describe('admission', () => {
  test('what a host says before it is admitted is answered behind the banner', async () => {
    await start();
    const admit = withheld();
    const host = gateway.connect();
    const heard = hear(host);
    host.end('NOOP\r\nQUIT\r\n');
    await turn();
    assert.equal(heard.text(), '');
    admit('ok');
    assert.match(await heard.end(), /^220 .*\r\n250 .*\r\n221 .*\r\n$/);
    await until(() => gateway.gateway.open === 0, 'the end');
    assert.deepEqual(held(), [0]);
  });

  for (const answer of ['ok', 'over', 'away'] as const) {
    test(`a host that leaves before it is admitted (${answer}) holds nothing`, async () => {
      await start();
      const admit = withheld();
      const host = gateway.connect();
      await turn();
      host.destroy();
      await until(() => gateway.gateway.open === 0, 'the end');
      admit(answer);
      await turn();
      await turn();
      assert.deepEqual(
        held().filter((count) => count !== 0),
        [],
      );
      assert.equal(gateway.rooms.counts.open, 0);
      assert.deepEqual(gateway.ledger.attempts, []);
    });
  }

  test('a shutdown before it is admitted: 421, and nothing is held', async () => {
    await start();
    const admit = withheld();
    const host = gateway.connect();
    const heard = hear(host);
    await turn();
    const drained = gateway.gateway.drain(60_000);
    admit('ok');
    assert.match(await heard.end(), /^421 4\.3\.2 .*session\.shutdown.*\r\n$/m);
    await drained;
    host.end();
    await until(() => gateway.gateway.open === 0, 'the end');
    assert.deepEqual(held(), [0]);
  });

  for (const [answer, network, banner] of [
    ['ok', '', /^220 /],
    ['over', '', /^421 4\.7\.0 .*\[limit\.connections /],
    ['away', '', /^421 4\.3\.0 .*\[error\.keeper /],
    ['over', 'mode = "observe"', /^220 /],
    ['away', 'mode = "observe"', /^220 /],
  ] as const) {
    test(`"${answer}" ${network}: ${banner.source}`, async () => {
      await start(network);
      gateway.ledger.admission = answer;
      const host = gateway.connect();
      const heard = hear(host);
      host.end('QUIT\r\n');
      assert.match(await heard.end(), banner);
      await until(() => gateway.gateway.open === 0, 'the end');
      assert.deepEqual(held(), answer === 'ok' ? [0] : [], 'only what was given is given back');
    });
  }

  test('every connection of a /64 is of one source', async () => {
    await start();
    gateway.connect('2001:db8:1::10');
    gateway.connect('2001:db8:1::11');
    gateway.connect('198.51.100.10');
    await turn();
    assert.deepEqual(
      held().sort((a, b) => a - b),
      [1, 2],
    );
  });
});

describe('who is not let in, whatever the ledger says', () => {
  for (const [mode, banner] of [
    ['block', /^554 5\.7\.1 Port 25 is closed for this source \[network\.block /],
    ['smarthost-only', /^554 5\.7\.1 .*use port 587 \[network\.smarthost-only /],
  ] as const) {
    test(`mode "${mode}"`, async () => {
      await start(`mode = "${mode}"`);
      const host = gateway.connect();
      const heard = hear(host);
      host.end('EHLO a.example\r\nMAIL FROM:<a@a.example>\r\n');
      assert.match(await heard.end(), banner);
      const [attempt] = await gateway.ledger.recorded(1);
      assert.deepEqual([attempt?.verdict, attempt?.sender], ['reject', undefined]);
      assert.deepEqual(held(), []);
    });
  }

  test('a source in no network', async () => {
    await start();
    const host = gateway.connect('192.0.2.7');
    const heard = hear(host);
    host.end();
    assert.match(await heard.end(), /^554 5\.7\.1 .*\[network\.none /);
    const [attempt] = await gateway.ledger.recorded(1);
    assert.deepEqual([attempt?.network, attempt?.source], ['unrouted', '192.0.2.7']);
    assert.deepEqual(gateway.rooms.counts.takeOpened(), { unrouted: 1 });
  });
});

test('a probe gets a banner, and is no session', async () => {
  await start();
  const [host, ours] = duplexPair();
  gateway.gateway.probe(Object.assign(ours, { setTimeout() {} }) as unknown as Socket);
  const heard = hear(host);
  assert.match(await heard.end(), /^220 gw1\.example\.net alive\r\n$/);
  host.end();
  assert.equal(gateway.gateway.open, 0);
  assert.deepEqual(gateway.rooms.counts.takeOpened(), {});
  assert.deepEqual(gateway.ledger.events, []);
});
