import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { systemClock } from '../../../src/kit/clock.ts';
import { listenChannel, type Peer } from '../../../src/kit/channel.ts';
import { silentLog } from '../../../src/kit/log.ts';
import { Admission } from '../../../src/ledger/admission.ts';
import { createLedger, type Ledger, type LedgerOptions } from '../../../src/ledger/client.ts';
import type { FromKeeper, Lock, ToKeeper } from '../../../src/ledger/language.ts';
import { checkToKeeper } from '../../../src/ledger/language-check.ts';
import { inbox, type Inbox, until } from '../../kit/wait.ts';
import { attempt, counts } from './sample.ts';

/** long beside what a busy machine keeps a timer waiting */
const SWEEP_MS = 500;

let dir: string;
let path: string;
let stop: AbortController;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ledger-'));
  path = join(dir, 'keeper.sock');
  stop = new AbortController();
});
afterEach(() => {
  stop.abort();
  rmSync(dir, { recursive: true, force: true });
});

type Keeper = {
  readonly got: Inbox<ToKeeper>;
  readonly admission: Admission;
  say: (message: FromKeeper) => void;
  /** answer admissions (default) or leave them unanswered */
  answers: boolean;
  readonly end: () => Promise<void>;
};

/** A keeper that counts as the real one does and shows what it was told. */
async function keeper(locks: readonly Lock[] = []): Promise<Keeper> {
  const life = new AbortController();
  const got = inbox<ToKeeper>();
  const admission = new Admission();
  const peers = new Set<Peer>();
  const it: Keeper = {
    got,
    admission,
    answers: true,
    say: (message) => {
      for (const peer of peers) peer.send(message);
    },
    end: async () => {
      life.abort();
      await closed;
    },
  };
  const { closed } = await listenChannel<ToKeeper>(
    path,
    {
      mode: 0o600,
      onConnection: (peer) => {
        peers.add(peer);
        return {
          check: checkToKeeper,
          onMessage(message) {
            got.put(message);
            if (message.kind === 'hello') peer.send({ kind: 'locks', locks } satisfies FromKeeper);
            else if (message.kind === 'release')
              for (const { source, count } of message.sources) admission.release(peer, source, count);
            else if (message.kind === 'hold')
              for (const { source, count } of message.sources) admission.hold(peer, source, count);
            else if (message.kind === 'admit' && it.answers) {
              const answers = message.asks.map(({ ask, source, limit }) => ({
                ask,
                ok: admission.admit(peer, source, limit),
              }));
              peer.send({ kind: 'admitted', answers } satisfies FromKeeper);
            }
          },
          onDown() {
            peers.delete(peer);
            admission.forget(peer);
          },
        };
      },
    },
    life.signal,
  );
  stop.signal.addEventListener('abort', () => life.abort());
  return it;
}

function ledger(change: Partial<LedgerOptions> = {}): Ledger {
  const options = {
    path,
    worker: 1,
    workers: 2,
    keeperFailure: 'local',
    clock: systemClock,
    log: silentLog,
    ...change,
  } as const;
  return createLedger(options, stop.signal);
}

async function next<K extends ToKeeper['kind']>(
  got: Inbox<ToKeeper>,
  kind: K,
): Promise<Extract<ToKeeper, { kind: K }>> {
  for (;;) {
    const message = await got.next();
    if (message.kind === kind) return message as Extract<ToKeeper, { kind: K }>;
  }
}

test('the keeper decides, and one turn of the loop asks once', async () => {
  const k = await keeper();
  const l = ledger();
  await l.ready;
  const answers = await Promise.all([1, 2, 3, 4].map(async () => l.admit('198.51.100.7', 3)));
  assert.deepEqual(answers, ['ok', 'ok', 'ok', 'over']);
  assert.equal((await next(k.got, 'admit')).asks.length, 4);
});

test('what a connection was admitted serves the next of its source at once, without a question', async () => {
  const k = await keeper();
  const l = ledger();
  await l.ready;
  assert.equal(await l.admit('198.51.100.7', 3), 'ok');
  assert.equal(await l.admit('198.51.100.7', 3), 'ok');
  await next(k.got, 'admit');
  await next(k.got, 'admit');
  for (let i = 0; i < 1000; i++) {
    l.release('198.51.100.7');
    assert.equal(l.admit('198.51.100.7', 3), 'ok');
  }
  const third = l.admit('198.51.100.7', 3);
  assert.ok(third instanceof Promise, 'no more than it was admitted');
  assert.equal(await third, 'ok');
  assert.equal(await l.admit('198.51.100.7', 3), 'over');
  assert.deepEqual(
    k.got.items.map(({ kind }) => kind),
    ['admit', 'admit'],
  );
  assert.equal(k.admission.connections, 3);
});

test('what is not used goes back in a while, all in one message; what is used does not', async () => {
  const k = await keeper();
  const l = ledger({ sweepMs: SWEEP_MS });
  await l.ready;
  for (let i = 0; i < 3; i++) await l.admit('198.51.100.7', 9);
  for (let i = 0; i < 2; i++) await l.admit('192.0.2.1', 9);
  l.release('198.51.100.7');
  l.release('198.51.100.7');
  l.release('192.0.2.1');
  l.release('192.0.2.1');
  // Half of it is needed now and then.
  const now = setInterval(() => {
    assert.equal(l.admit('192.0.2.1', 9), 'ok');
    l.release('192.0.2.1');
  }, 1);
  const { sources } = await next(k.got, 'release');
  assert.deepEqual(sources, [
    { source: '198.51.100.7', count: 2 },
    { source: '192.0.2.1', count: 1 },
  ]);
  clearInterval(now);
  assert.deepEqual((await next(k.got, 'release')).sources, [{ source: '192.0.2.1', count: 1 }]);
  assert.equal(k.admission.connections, 1);
});

test('a recall takes back what is not used, and then each connection of the source as it ends', async () => {
  const k = await keeper();
  const l = ledger();
  await l.ready;
  for (let i = 0; i < 3; i++) await l.admit('198.51.100.7', 3);
  await l.admit('192.0.2.1', 3);
  l.release('198.51.100.7');
  l.release('192.0.2.1');
  k.say({ kind: 'recall', of: 'connections', recall: 7, sources: ['198.51.100.7', '203.0.113.1'] });
  assert.deepEqual((await next(k.got, 'release')).sources, [{ source: '198.51.100.7', count: 1 }]);
  assert.deepEqual(await k.got.next(), { kind: 'returned', of: 'connections', recall: 7 });
  l.release('198.51.100.7');
  assert.deepEqual(await k.got.next(), { kind: 'release', sources: [{ source: '198.51.100.7', count: 1 }] });
  assert.equal(l.admit('192.0.2.1', 3), 'ok');
  l.release('192.0.2.1');
  k.say({ kind: 'recall', of: 'connections', recall: 8 });
  assert.deepEqual((await next(k.got, 'release')).sources, [{ source: '192.0.2.1', count: 1 }]);
  assert.deepEqual(await k.got.next(), { kind: 'returned', of: 'connections', recall: 8 });
});

test('a reload gives back what is not used: the limit may have changed', async () => {
  const k = await keeper();
  const l = ledger();
  await l.ready;
  for (let i = 0; i < 3; i++) await l.admit('198.51.100.7', 3);
  l.release('198.51.100.7');
  l.release('198.51.100.7');
  l.configure({ workers: 2, keeperFailure: 'local' });
  assert.equal(await l.admit('198.51.100.7', 1), 'over');
  assert.equal(k.admission.connections, 1);
});

test('without a keeper each worker holds its share, at least one', async () => {
  const l = ledger({ workers: 4 });
  const answers: string[] = [];
  for (let i = 0; i < 6; i++) answers.push(await l.admit('198.51.100.7', 20));
  assert.deepEqual(answers, ['ok', 'ok', 'ok', 'ok', 'ok', 'over']);
  assert.deepEqual([await l.admit('192.0.2.1', 2), await l.admit('192.0.2.1', 2)], ['ok', 'over']);
  l.release('192.0.2.1');
  assert.equal(await l.admit('192.0.2.1', 2), 'ok');
});

test('without a keeper and with keeper_failure = "defer" the answer is away', async () => {
  const l = ledger({ keeperFailure: 'defer' });
  assert.equal(await l.admit('198.51.100.7', 20), 'away');
  l.configure({ workers: 1, keeperFailure: 'local' });
  assert.equal(await l.admit('198.51.100.7', 20), 'ok');
});

test('a keeper that is silent costs 250 ms, and a late answer is put right', async () => {
  const k = await keeper();
  k.answers = false;
  const l = ledger({ workers: 1, sweepMs: SWEEP_MS });
  await l.ready;
  const start = performance.now();
  const answers = await Promise.all([
    l.admit('198.51.100.7', 2),
    l.admit('198.51.100.7', 2),
    l.admit('198.51.100.7', 2),
  ]);
  const tookMs = performance.now() - start;
  assert.deepEqual(answers, ['ok', 'ok', 'over']);
  assert.ok(tookMs >= 240 && tookMs < 20_000, `${tookMs} ms`);

  // Two were let in here and the keeper answers after all: yes, no, yes. It must end up with the two that are open.
  const [a, b, c] = (await next(k.got, 'admit')).asks.map(({ ask }) => ask) as [number, number, number];
  const said: ToKeeper[] = [];
  k.say({
    kind: 'admitted',
    answers: [
      { ask: a, ok: true },
      { ask: b, ok: false },
      { ask: c, ok: true },
    ],
  });
  said.push(await k.got.next());
  said.push(await k.got.next());
  const sum = said.reduce((total, message) => {
    if (message.kind === 'hold') return total + message.sources.reduce((n, { count }) => n + count, 0);
    return message.kind === 'release' ? total - message.sources.reduce((n, { count }) => n + count, 0) : total;
  }, 2);
  assert.equal(sum, 2, JSON.stringify(said));
});

test('a late yes for a connection that was refused is given back', async () => {
  const k = await keeper();
  k.answers = false;
  const l = ledger({ keeperFailure: 'defer', sweepMs: SWEEP_MS });
  await l.ready;
  assert.equal(await l.admit('198.51.100.7', 2), 'away');
  const [ask] = (await next(k.got, 'admit')).asks;
  k.say({ kind: 'admitted', answers: [{ ask: ask?.ask as number, ok: true }] });
  assert.deepEqual((await next(k.got, 'release')).sources, [{ source: '198.51.100.7', count: 1 }]);
});

test('after a reconnect the keeper knows exactly what is open, whatever happened meanwhile', async () => {
  const first = await keeper();
  const l = ledger({ workers: 1 });
  await l.ready;
  for (let i = 0; i < 5; i++) await l.admit('198.51.100.7', 10);
  await l.admit('192.0.2.1', 10);
  await first.end();
  await until(() => !l.isUp(), 'the worker sees the keeper go');
  l.release('192.0.2.1');
  l.release('198.51.100.7');
  assert.equal(await l.admit('2001:db8::/64', 10), 'ok');

  const second = await keeper();
  await next(second.got, 'hold');
  assert.deepEqual([second.admission.connections, second.admission.sources], [5, 2]);
  for (let i = 0; i < 4; i++) l.release('198.51.100.7');
  l.release('2001:db8::/64');
  second.say({ kind: 'recall', of: 'connections', recall: 1 });
  await until(() => second.admission.connections === 0, 'all are released');
});

test('questions that are open when the keeper dies are answered at once', async () => {
  // Without that each would wait for 250 ms; the machine may hold up some of them, too.
  let leastMs = Number.POSITIVE_INFINITY;
  for (let tries = 0; leastMs > 200 && tries < 50; tries++) {
    const k = await keeper();
    k.answers = false;
    const l = ledger({ workers: 1 });
    await l.ready;
    const start = performance.now();
    const answer = l.admit('198.51.100.7', 1);
    await next(k.got, 'admit');
    const ended = k.end();
    assert.equal(await answer, 'ok');
    leastMs = Math.min(leastMs, performance.now() - start);
    await ended;
  }
  assert.ok(leastMs < 200, `${leastMs} ms`);
});

test('locks come with hello and with every change, and stay when the keeper goes', async () => {
  const lock: Lock = { subject: '198.51.100.0/24', how: 'defer', reason: 'r', who: 'w', since: 1, until: undefined };
  const k = await keeper([lock]);
  const l = ledger();
  await l.ready;
  assert.equal(l.lockOf('198.51.100.9')?.reason, 'r');
  assert.equal(l.lockOf('198.51.101.9'), undefined);
  k.say({ kind: 'locks', locks: [{ ...lock, subject: '198.51.101.9/32' }] });
  await until(() => l.lockOf('198.51.101.9') !== undefined, 'the change arrives');
  assert.equal(l.lockOf('198.51.100.9'), undefined);
  await k.end();
  await until(() => !l.isUp(), 'the worker sees the keeper go');
  assert.equal(l.lockOf('198.51.101.9')?.how, 'defer');
});

test('events wait for the keeper, come in order, and nothing is lost or doubled over its restart', async () => {
  const l = ledger();
  for (let i = 0; i < 700; i++) l.record(attempt({ id: `a${i}` }));
  l.record(counts({ opened: { customers: 7 } }));
  const ids: string[] = [];
  let opened = 0;
  const collect = async (got: Inbox<ToKeeper>, howMany: number): Promise<void> => {
    while (ids.length < howMany) {
      for (const event of (await next(got, 'events')).batch) {
        if (event.kind === 'attempt') ids.push(event.id);
        else if (event.kind === 'sessions') opened += event.opened['customers'] ?? 0;
      }
    }
  };
  const first = await keeper();
  await collect(first.got, 700);
  await first.end();
  await until(() => !l.isUp(), 'the worker sees the keeper go');
  for (let i = 700; i < 900; i++) l.record(attempt({ id: `a${i}` }));
  const second = await keeper();
  await collect(second.got, 900);
  assert.deepEqual(
    ids,
    Array.from({ length: 900 }, (_, i) => `a${i}`),
  );
  assert.equal(opened, 7);
});

test('close sends what waits', async () => {
  const k = await keeper();
  const l = ledger();
  await l.ready;
  l.record(attempt({ id: 'last' }));
  await l.close();
  const [event] = (await next(k.got, 'events')).batch;
  assert.equal(event?.kind === 'attempt' && event.id, 'last');
});

test('close waits for a keeper that is being restarted, and tells it', async () => {
  const k = await keeper();
  const downs = inbox<string>();
  const l = ledger({ log: { write: (_level, event) => (event === 'keeper.away' ? downs.put(event) : undefined) } });
  await l.ready;
  await k.end();
  await downs.next();
  l.record(attempt({ id: 'last' }));
  const closing = l.close();
  const again = await keeper();
  await closing;
  const [event] = (await next(again.got, 'events')).batch;
  assert.equal(event?.kind === 'attempt' && event.id, 'last');
});

test('a keeper of another language is left alone, and the worker goes on by itself', async () => {
  const life = new AbortController();
  await listenChannel(
    path,
    {
      mode: 0o600,
      onConnection: (peer) => {
        peer.send({ kind: 'greetings' });
        return { check: (raw) => raw as object, onMessage() {}, onDown() {} };
      },
    },
    life.signal,
  );
  const downs = inbox<string>();
  const l = ledger({
    workers: 1,
    log: {
      write: (_level, event, fields) => (event === 'keeper.away' ? downs.put(String(fields?.['reason'])) : undefined),
    },
  });
  assert.equal(await downs.next(), 'a message that is none of ours');
  assert.equal(await l.admit('198.51.100.7', 5), 'ok');
  life.abort();
});
