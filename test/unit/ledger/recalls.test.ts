/** Workers and keeper as they are, joined by queues that a test empties in any order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { Peer } from '../../../src/kit/channel.ts';
import { Admission } from '../../../src/ledger/admission.ts';
import { Admitter, type Admission as Answer } from '../../../src/ledger/admitter.ts';
import type { FromKeeper, ToKeeper } from '../../../src/ledger/language.ts';
import { Recalls } from '../../../src/ledger/recalls.ts';
import { count, seed } from '../../kit/tier.ts';
import { until } from '../../kit/wait.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const SOURCE = '198.51.100.7';

class Bench {
  readonly admission = new Admission();
  readonly workers: {
    readonly admitter: Admitter;
    readonly peer: Peer;
    readonly toKeeper: ToKeeper[];
    readonly fromKeeper: FromKeeper[];
    readonly open: string[];
    asking: number;
  }[] = [];
  readonly recalls = new Recalls('connections', () => this.workers.map(({ peer }) => peer));

  constructor(workers: number) {
    for (let i = 0; i < workers; i++) this.join();
  }

  join(): void {
    const toKeeper: ToKeeper[] = [];
    const fromKeeper: FromKeeper[] = [];
    const say = (message: ToKeeper): boolean => toKeeper.push(message) > 0;
    const admitter = new Admitter({ workers: 2, keeperFailure: 'defer' }, say);
    const peer: Peer = {
      send: (message) => fromKeeper.push(message as FromKeeper) > 0,
      sendText: () => assert.fail('the keeper has nothing that is text already'),
      close: async () => {},
    };
    this.workers.push({ admitter, peer, toKeeper, fromKeeper, open: [], asking: 0 });
    this.recalls.joined();
  }

  /** A connection comes to this worker; it is among its `open` when it was let in. */
  async come(who: number, source: string, limit: number): Promise<Answer> {
    const worker = this.workers[who] as Bench['workers'][number];
    worker.asking++;
    const answer = await worker.admitter.admit(source, limit, true);
    worker.asking--;
    if (answer === 'ok') worker.open.push(source);
    assert.ok(this.openOf(source) <= limit, `${this.openOf(source)} of ${limit} are open`);
    return answer;
  }

  end(who: number, source: string): void {
    const worker = this.workers[who] as Bench['workers'][number];
    const at = worker.open.indexOf(source);
    if (at < 0) return;
    worker.open.splice(at, 1);
    worker.admitter.release(source);
  }

  openOf(source: string): number {
    return this.workers.reduce((sum, { open }) => sum + open.filter((one) => one === source).length, 0);
  }

  /** The keeper hears the next of what this worker has said. */
  hear(who: number): void {
    const worker = this.workers[who];
    const message = worker?.toKeeper.shift();
    if (!worker || !message) return;
    if (message.kind === 'release')
      for (const { source, count: many } of message.sources) this.admission.release(worker.peer, source, many);
    else if (message.kind === 'returned') this.recalls.returned(worker.peer, message.recall);
    else if (message.kind === 'admit')
      for (const { ask, source, limit } of message.asks)
        this.recalls.admit(
          worker.peer,
          source,
          () => this.admission.admit(worker.peer, source, limit),
          (ok) => worker.fromKeeper.push({ kind: 'admitted', answers: [{ ask, ok }] }),
        );
    else assert.fail(`nobody says ${message.kind} here`);
  }

  /** This worker hears the next of what the keeper has said to it. */
  tell(who: number): void {
    const worker = this.workers[who];
    const message = worker?.fromKeeper.shift();
    if (!worker || !message) return;
    if (message.kind === 'recall') worker.admitter.recalled(message.recall, message.sources);
    else if (message.kind === 'admitted') for (const { ask, ok } of message.answers) worker.admitter.answered(ask, ok);
  }

  /** Everything arrives, until nobody has anything to say; whom `deaf` names hears nothing. */
  async settle(deaf?: number): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet++) {
      await turn();
      for (const [who, { toKeeper, fromKeeper }] of this.workers.entries()) {
        if (who !== deaf && toKeeper.length + fromKeeper.length > 0) quiet = 0;
        while (toKeeper.length > 0) this.hear(who);
        if (who !== deaf) while (fromKeeper.length > 0) this.tell(who);
      }
    }
  }

  async ask(who: number, limit: number): Promise<Answer> {
    const answer = this.come(who, SOURCE, limit);
    await this.settle();
    return answer;
  }
}

test('one worker holds all of the limit and uses none: another is admitted, as many as there are', async () => {
  const b = new Bench(2);
  for (let i = 0; i < 5; i++) assert.equal(await b.ask(0, 5), 'ok');
  assert.equal(await b.ask(1, 5), 'over');
  for (let i = 0; i < 5; i++) b.end(0, SOURCE);
  assert.equal(b.admission.connections, 5, 'kept for the next');
  for (let i = 0; i < 5; i++) assert.equal(await b.ask(1, 5), 'ok');
  assert.equal(await b.ask(0, 5), 'over');
  assert.equal(b.openOf(SOURCE), 5);
});

test('of three workers each gives back the one that it does not use', async () => {
  const b = new Bench(4);
  for (const who of [0, 0, 1, 1, 2, 2]) assert.equal(await b.ask(who, 6), 'ok');
  for (const who of [0, 1, 2]) b.end(who, SOURCE);
  const answers = [b.come(3, SOURCE, 6), b.come(3, SOURCE, 6), b.come(3, SOURCE, 6), b.come(3, SOURCE, 6)];
  await b.settle();
  assert.deepEqual(await Promise.all(answers), ['ok', 'ok', 'ok', 'over']);
});

test('a source that tries against its limit without end is one recall, and what ends makes room at once', async () => {
  const b = new Bench(3);
  for (const who of [0, 1, 2]) assert.equal(await b.ask(who, 3), 'ok');
  let recalls = 0;
  for (const { peer, fromKeeper } of b.workers) {
    Object.assign(peer, {
      send: (message: FromKeeper) => {
        if (message.kind === 'recall') recalls++;
        return fromKeeper.push(message) > 0;
      },
    });
  }
  for (let i = 0; i < 50; i++) assert.equal(await b.ask(i % 3, 3), 'over');
  assert.equal(recalls, 3, 'each worker was asked once');
  b.end(2, SOURCE);
  await b.settle();
  assert.equal(await b.ask(1, 3), 'ok');
  assert.equal(recalls, 3);
});

test('a worker that comes after the others were asked is asked as well', async () => {
  const b = new Bench(2);
  assert.equal(await b.ask(0, 1), 'ok');
  assert.equal(await b.ask(1, 1), 'over');
  b.join();
  b.end(0, SOURCE);
  assert.equal(await b.ask(2, 1), 'ok');
  b.end(2, SOURCE);
  assert.equal(b.admission.connections, 1, 'kept by the one that came last');
  assert.equal(await b.ask(1, 1), 'ok');
});

test('a worker that does not answer holds up a refusal for 100 ms, and its own no longer than it is there', async () => {
  const b = new Bench(2);
  assert.equal(await b.ask(0, 1), 'ok');
  b.end(0, SOURCE);
  const began = performance.now();
  const refused = b.come(1, SOURCE, 1);
  const hearing = setInterval(() => void b.settle(0), 5);
  assert.equal(await refused, 'over');
  clearInterval(hearing);
  const tookMs = performance.now() - began;
  assert.ok(tookMs >= 95 && tookMs < 20_000, `${tookMs} ms`);

  const admitted = b.come(1, SOURCE, 1);
  await b.settle(0);
  const [gone] = b.workers.splice(0, 1) as [Bench['workers'][number]];
  b.admission.forget(gone.peer);
  b.recalls.left(gone.peer);
  await b.settle();
  assert.equal(await admitted, 'ok');
});

test('who left while he waited is counted nowhere', async () => {
  const b = new Bench(3);
  assert.equal(await b.ask(0, 1), 'ok');
  b.end(0, SOURCE);
  void b.come(1, SOURCE, 1);
  await b.settle(0);
  const [gone] = b.workers.splice(1, 1) as [Bench['workers'][number]];
  b.admission.forget(gone.peer);
  b.recalls.left(gone.peer);
  await b.settle();
  assert.equal(b.admission.connections, 0);
});

test('a yes that comes while one of ours ended, and a no, lead to the same', async () => {
  const b = new Bench(1);
  assert.equal(await b.ask(0, 1), 'ok');
  const answer = b.come(0, SOURCE, 1);
  await turn();
  b.end(0, SOURCE);
  await b.settle();
  assert.equal(await answer, 'ok');
});

test('what all workers hold is counted when they have given back the rest', async () => {
  const b = new Bench(2);
  for (let i = 0; i < 4; i++) await b.ask(i % 2, 9);
  for (const who of [0, 0, 1]) b.end(who, SOURCE);
  assert.equal(b.admission.connections, 4);
  const all = b.recalls.all();
  await b.settle();
  await all;
  assert.equal(b.admission.connections, 1);
  await new Recalls('connections', () => []).all();
});

test('any order of coming, ending, sweeping and hearing: never one more than the limit, and all is right in the end', async () => {
  const step = fc.record({
    do: fc.constantFrom('come', 'come', 'come', 'end', 'end', 'hear', 'hear', 'tell', 'tell', 'sweep', 'all', 'reload'),
    who: fc.nat(2),
    source: fc.constantFrom('s', 't'),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 4 }), async (steps, limit) => {
      const b = new Bench(3);
      for (const { do: what, who, source } of steps) {
        if (what === 'come') void b.come(who, source, limit);
        else if (what === 'end') b.end(who, source);
        else if (what === 'hear') b.hear(who);
        else if (what === 'tell') b.tell(who);
        else if (what === 'sweep') b.workers[who]?.admitter.sweep();
        else if (what === 'all') void b.recalls.all();
        else b.workers[who]?.admitter.configure({ workers: 2, keeperFailure: 'defer' });
        await turn();
        for (const one of ['s', 't']) {
          assert.ok(b.openOf(one) <= limit);
        }
      }
      await b.settle();
      await until(() => b.workers.every(({ asking }) => asking === 0), 'everybody is answered');
      for (const source of ['s', 't']) {
        const open = b.openOf(source);
        // Whoever comes now finds all the room that there is, wherever it is held.
        for (let i = open; i < limit; i++) {
          const answer = b.come(i % 3, source, limit);
          await b.settle();
          assert.equal(await answer, 'ok', `${i} of ${limit} are open`);
        }
        const one = b.come(0, source, limit);
        await b.settle();
        assert.equal(await one, 'over');
      }
      for (const [who, { open }] of b.workers.entries()) for (const source of [...open]) b.end(who, source);
      for (const { admitter } of b.workers) for (let i = 0; i < 2; i++) admitter.sweep();
      await b.settle();
      assert.equal(b.admission.connections, 0, 'nothing is left with anybody');
    }),
    { seed, numRuns: count(150, 2000) },
  );
});
