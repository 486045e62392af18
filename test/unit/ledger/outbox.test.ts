import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_LINE_BYTES } from '../../../src/kit/channel.ts';
import { checkToKeeper } from '../../../src/ledger/language-check.ts';
import { MAX_WAITING, Outbox } from '../../../src/ledger/outbox.ts';
import { BOUNDS, type WorkerEvent } from '../../../src/record/events.ts';
import { attempt, counts, throughJson } from './sample.ts';

function taken(outbox: Outbox, batches = Infinity): WorkerEvent[][] {
  const all: WorkerEvent[][] = [];
  outbox.flush((json) => {
    if (all.length >= batches) return false;
    assert.ok(Buffer.byteLength(json) < MAX_LINE_BYTES);
    const message = checkToKeeper(JSON.parse(json));
    assert.ok(message?.kind === 'events', json.slice(0, 1000));
    all.push([...message.batch]);
    return true;
  });
  return all;
}

test('batches of at most 100, in order, and nothing twice', () => {
  const outbox = new Outbox();
  for (let i = 0; i < 321; i++) outbox.put(attempt({ id: `id${i}` }));
  const first = taken(outbox, 1);
  assert.deepEqual(
    first.map((b) => b.length),
    [100],
  );
  assert.equal(outbox.length, 221);
  const rest = taken(outbox);
  assert.deepEqual(
    rest.map((b) => b.length),
    [100, 100, 21],
  );
  const ids = [...first, ...rest].flat().map((event) => (event.kind === 'attempt' ? event.id : ''));
  assert.deepEqual(
    ids,
    Array.from({ length: 321 }, (_, i) => `id${i}`),
  );
  assert.deepEqual(taken(outbox), []);
});

test('10,000 wait, the rest is dropped and counted; the count goes out once', () => {
  const outbox = new Outbox();
  for (let i = 0; i < MAX_WAITING + 37; i++) outbox.put(attempt());
  assert.equal(outbox.length, MAX_WAITING);
  outbox.put(counts({ dropped: 2 }));
  const events = taken(outbox).flat();
  assert.deepEqual(
    events.filter((event) => event.kind === 'sessions').map((event) => event.dropped),
    [39],
  );
  outbox.put(counts());
  assert.equal((taken(outbox).flat()[0] as { dropped: number }).dropped, 0);
});

test('counts of sessions are merged while they wait and never lost', () => {
  const outbox = new Outbox();
  outbox.put(counts({ opened: { a: 1, b: 2 }, open: 3 }));
  assert.deepEqual(taken(outbox, 0), []);
  outbox.put(counts({ opened: { b: 5, c: 1 }, open: 9 }));
  const [event, ...more] = taken(outbox).flat();
  assert.deepEqual(more, []);
  assert.deepEqual(event, counts({ opened: { a: 1, b: 7, c: 1 }, open: 9 }));
});

test('what went wrong towards the smarthosts is added up while it waits, also where one of two says nothing', () => {
  const outbox = new Outbox();
  outbox.put(counts());
  outbox.put(counts({ relay: { faults: 1, repeated: 2, possibleDuplicates: 3 } }));
  outbox.put(counts({ relay: { faults: 10, repeated: 20, possibleDuplicates: 30 } }));
  outbox.put(counts());
  const [event] = taken(outbox).flat();
  assert.ok(event?.kind === 'sessions');
  assert.deepEqual(event.relay, { faults: 11, repeated: 22, possibleDuplicates: 33 });
  assert.ok(checkToKeeper(throughJson({ kind: 'events', batch: [event] })));
});

test('whatever a stranger typed, a batch is one valid line under 4 MiB', () => {
  const huge = '\u0001'.repeat(1_000_000);
  const outbox = new Outbox();
  for (let i = 0; i < 20; i++) {
    outbox.put(
      attempt({
        helo: huge,
        sender: huge,
        reply: huge,
        upstreamReply: huge,
        upstream: huge,
        recipients: Array.from({ length: 3000 }, () => ({
          recipient: huge,
          code: 250,
          class: 'accepted.clean' as const,
        })),
        findings: Array.from({ length: 200 }, () => ({ filter: huge, name: huge, score: 1, evidence: huge })),
      }),
    );
  }
  outbox.put(counts({ upstream: [{ server: 'smtp.example.net:25', up: false, connections: 0, reason: huge }] }));
  const batches = taken(outbox);
  assert.ok(batches.length > 1);
});

test('recipients beyond the bound are counted, not forgotten', () => {
  const outbox = new Outbox();
  const recipients = Array.from({ length: BOUNDS.recipients + 5 }, (_, i) => ({
    recipient: `r${i}`,
    code: 250,
    class: 'accepted.clean' as const,
  }));
  outbox.put(attempt({ recipients }));
  const [event] = taken(outbox).flat();
  assert.ok(event?.kind === 'attempt');
  assert.equal(event.recipients.length + (event.recipientsOmitted ?? 0), recipients.length);
  assert.ok((event.recipientsOmitted ?? 0) >= 5);
});
