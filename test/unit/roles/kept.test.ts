import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { machineMs } from '../../../src/kit/clock.ts';
import { type Ended, Kept, restartDelayMs } from '../../../src/roles/kept.ts';
import type { Launch } from '../../../src/roles/launch.ts';

test('the first restart comes at once, then ever more slowly, up to 5 s', () => {
  const delays = Array.from({ length: 10 }, (_, deaths) => restartDelayMs(deaths));
  assert.deepEqual(delays, [0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
});

const shell = (script: string): Launch => ({ file: 'sh', args: ['-c', script], env: { PATH: '/usr/bin:/bin' } });

const all: Kept[] = [];
afterEach(() => Promise.all(all.splice(0).map((kept) => kept.stop(100))));

/** Keeps a process running and hands out what happens to it, in order. */
function keep(launch: Launch): { kept: Kept; started: () => Promise<number | undefined>; ended: () => Promise<Ended> } {
  const starts = inbox<number | undefined>();
  const ends = inbox<Ended>();
  const kept = new Kept({
    launch,
    stdio: () => 'ignore',
    onStart: ({ pid }) => starts.put(pid),
    onEnd: ends.put,
  });
  all.push(kept);
  return { kept, started: starts.next, ended: ends.next };
}

function inbox<T>(): { put: (item: T) => void; next: () => Promise<T> } {
  const items: T[] = [];
  const waiting: ((item: T) => void)[] = [];
  return {
    put: (item) => {
      const first = waiting.shift();
      if (first) first(item);
      else items.push(item);
    },
    next: () =>
      new Promise((resolve) => {
        if (items.length > 0) resolve(items.shift() as T);
        else waiting.push(resolve);
      }),
  };
}

test('a process that is killed is started again at once, with another id', async () => {
  const { kept, started, ended } = keep(shell('exec sleep 60'));
  const first = await started();
  const answeredAt = machineMs();
  assert.deepEqual([kept.patienceMs(answeredAt), kept.patienceMs(undefined)], [5_000, 60_000]);
  kept.signal('SIGKILL');
  const end = await ended();
  assert.deepEqual(
    { ...end, livedMs: 0 },
    { pid: first, code: null, signal: 'SIGKILL', error: undefined, livedMs: 0, restartInMs: 0 },
  );
  const second = await started();
  assert.notEqual(second, first);
  assert.equal(kept.patienceMs(answeredAt), 60_000, 'it was the one before that answered: this one is starting');
  assert.equal(kept.patienceMs(machineMs()), 10_000, 'it may need longer than the one before had');
  assert.ok(kept.ageMs !== undefined && kept.ageMs < 60_000);
  await kept.stop(5_000);
  assert.equal(kept.ageMs, undefined);
  assert.equal((await ended()).restartInMs, undefined);
});

test('one that ends young is started more slowly each time', async () => {
  const { kept, ended } = keep(shell('exit 3'));
  const ends = [await ended(), await ended(), await ended()];
  assert.deepEqual(
    ends.map(({ code, restartInMs }) => ({ code, restartInMs })),
    [
      { code: 3, restartInMs: 0 },
      { code: 3, restartInMs: 100 },
      { code: 3, restartInMs: 200 },
    ],
  );
  assert.equal(kept.patienceMs(machineMs()), 40_000);
  await kept.stop(1_000);
});

test('one that does not heed SIGTERM is killed when its time is over', async () => {
  const ends = inbox<Ended>();
  const deaf = inbox<unknown>();
  const kept = new Kept({
    launch: shell('trap "" TERM; echo deaf; while :; do sleep 0.01; done'),
    stdio: () => ['ignore', 'pipe', 'ignore'],
    onStart: ({ stdout }) => stdout?.once('data', deaf.put),
    onEnd: ends.put,
  });
  all.push(kept);
  await deaf.next();
  await kept.stop(50);
  const { signal, restartInMs } = await ends.next();
  assert.deepEqual({ signal, restartInMs }, { signal: 'SIGKILL', restartInMs: undefined });
});

test('one that cannot be started says why, and is tried again', async () => {
  const { kept, ended } = keep({ file: '/nonexistent/program', args: [], env: {} });
  const { pid, error, restartInMs } = await ended();
  assert.deepEqual(
    { pid, error, restartInMs },
    { pid: undefined, error: 'spawn /nonexistent/program ENOENT', restartInMs: 0 },
  );
  await ended();
  await kept.stop(1_000);
});

test('stopped while it waits for its restart, it is not started', async () => {
  const { kept, started, ended } = keep(shell('exit 1'));
  for (let i = 0; i < 3; i++) {
    await started();
    await ended();
  }
  await kept.stop(1_000);
  let again = false;
  void started().then(() => (again = true));
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.equal(again, false);
});
