import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, test } from 'node:test';
import { runPaths } from '../../../src/kit/run-dir.ts';
import { createLedger } from '../../../src/ledger/client.ts';
import type { FromKeeper, Lock, LockAnswer, StepAnswer, Status, ToKeeper } from '../../../src/ledger/language.ts';
import { systemClock } from '../../../src/kit/clock.ts';
import type { LogAnswer } from '../../../src/record/query.ts';
import { search } from '../../../src/record/search.ts';
import { makePlace, type Place, stageKeeper, type Stage } from '../../kit/keeper.ts';
import { logbook } from '../../kit/logbook.ts';
import { until } from '../../kit/wait.ts';
import { attempt, counts, kernelReport } from '../ledger/sample.ts';

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});
async function stage(...given: Parameters<typeof stageKeeper>): Promise<Stage> {
  const it = await stageKeeper(...given);
  cleanups.push(it.close);
  return it;
}
const lock = (subject: string, change: Partial<Lock> = {}): Omit<Lock, 'since'> => ({
  subject,
  how: 'reject',
  reason: 'spam',
  who: 'ops',
  until: undefined,
  ...change,
});
const hello = (role: 'guard' | 'cli' | 'worker', worker?: number): Extract<ToKeeper, { kind: 'hello' }> => ({
  kind: 'hello',
  v: 6,
  role,
  ...(worker !== undefined && { worker }),
});

test('max_connections holds over all workers together; a worker that goes gives its share back', async () => {
  const s = await stage();
  const [a, b] = [s.worker(1), s.worker(2)];
  await Promise.all([a.ready, b.ready]);
  const answers = [];
  for (const worker of [a, b, a, b]) answers.push(await worker.admit('198.51.100.7', 3));
  assert.deepEqual(answers, ['ok', 'ok', 'ok', 'over']);
  await a.close();
  await s.log.seen('keeper.left');
  assert.equal(await b.admit('198.51.100.7', 3), 'ok');
  const { held } = (await s.ask({ of: 'status' })) as Status;
  assert.deepEqual(held, { connections: 2, sources: 1 });
});

test('one worker keeps all that a source may have and uses none: another is admitted; status tells what is open', async () => {
  const s = await stage();
  const [a, b] = [s.worker(1), s.worker(2)];
  await Promise.all([a.ready, b.ready]);
  for (let i = 0; i < 3; i++) assert.equal(await a.admit('198.51.100.7', 3), 'ok');
  for (let i = 0; i < 3; i++) a.release('198.51.100.7');
  assert.equal(a.admit('198.51.100.7', 3), 'ok', 'at once');
  a.release('198.51.100.7');
  for (let i = 0; i < 3; i++) assert.equal(await b.admit('198.51.100.7', 3), 'ok');
  b.release('198.51.100.7');
  const { held } = (await s.ask({ of: 'status' })) as Status;
  assert.deepEqual(held, { connections: 2, sources: 1 });
});

test('under any load on two workers never more than max_connections are open, and nobody is forgotten', async () => {
  const s = await stage();
  const workers = [s.worker(1), s.worker(2)] as const;
  await Promise.all(workers.map(({ ready }) => ready));
  const limit = 4;
  let open = 0;
  let [admitted, refused] = [0, 0];
  const host = async (): Promise<void> => {
    for (let i = 0; i < 100; i++) {
      const worker = workers[Math.random() < 0.5 ? 0 : 1];
      if ((await worker.admit('198.51.100.7', limit)) !== 'ok') {
        refused++;
        continue;
      }
      open++;
      admitted++;
      assert.ok(open <= limit, `${open} are open`);
      await pause(Math.random() * 3);
      open--;
      worker.release('198.51.100.7');
    }
  };
  await Promise.all(Array.from({ length: 8 }, host));
  assert.equal(admitted + refused, 800);
  assert.ok(admitted > 100 && refused > 10, `${admitted} admitted, ${refused} refused`);
  const { held } = (await s.ask({ of: 'status' })) as Status;
  assert.deepEqual(held, { connections: 0, sources: 0 });
});

test('a lock reaches workers and guard at once, is there for those who come later, and ends everywhere', async () => {
  const s = await stage();
  const worker = s.worker(1);
  const guard = await s.speaker(hello('guard'));
  await worker.ready;
  assert.deepEqual(await guard.got.next(), { kind: 'steps', steps: [] });
  assert.deepEqual(await guard.got.next(), { kind: 'locks', locks: [] });
  const { lock: set } = (await s.ask({ of: 'lock', lock: lock('198.51.100.0/24', { how: 'kernel' }) })) as LockAnswer;
  const told = (await guard.got.next()) as Extract<FromKeeper, { kind: 'locks' }>;
  assert.deepEqual(told.locks, [set]);
  await until(() => worker.lockOf('198.51.100.7') !== undefined, 'the worker knows');
  const late = s.worker(2);
  await late.ready;
  assert.equal(late.lockOf('198.51.100.7')?.how, 'kernel');
  await s.ask({ of: 'unlock', subject: '198.51.100.0/24', who: 'ops' });
  await until(() => !worker.lockOf('198.51.100.7') && !late.lockOf('198.51.100.7'), 'both know');
  assert.deepEqual(await s.ask({ of: 'locks' }), []);
});

test('a lock with an end ends by itself, and the guard is told', async () => {
  let nowMs = Date.now();
  const s = await stage({ nowMs: () => nowMs, monotonicMs: () => performance.now() });
  const guard = await s.speaker(hello('guard'));
  for (let i = 0; i < 2; i++) await guard.got.next();
  await s.ask({ of: 'lock', lock: lock('198.51.100.7', { until: nowMs + 60_000 }) });
  assert.equal(((await guard.got.next()) as Extract<FromKeeper, { kind: 'locks' }>).locks.length, 1);
  nowMs += 60_000;
  assert.deepEqual(await guard.got.next(), { kind: 'locks', locks: [] });
});

test('a step on the ladder reaches workers and guard, is there for those who come later, and ends by itself', async () => {
  let nowMs = Date.now();
  const s = await stage({ nowMs: () => nowMs, monotonicMs: () => performance.now() });
  const worker = s.worker(1);
  const guard = await s.speaker(hello('guard'));
  for (let i = 0; i < 2; i++) await guard.got.next();
  await worker.ready;
  const whom = { subject: '198.51.100.7', network: 'customers', hasOwnMode: false };
  const step = { subject: '198.51.100.7', mode: 'block', reason: 'r', who: 'ops', until: nowMs + 60_000 } as const;
  const { step: taken } = (await s.ask({ of: 'step', step })) as StepAnswer;
  assert.deepEqual(await guard.got.next(), { kind: 'steps', steps: [taken] });
  await until(() => worker.modeOf(whom) === 'block', 'the worker knows');
  assert.equal(worker.modeOf({ ...whom, subject: '198.51.100.8' }), undefined);
  const late = s.worker(2);
  await late.ready;
  assert.equal(late.modeOf(whom), 'block');
  nowMs += 60_000;
  assert.equal(late.modeOf(whom), undefined);
  assert.deepEqual(await guard.got.next(), { kind: 'steps', steps: [] });
});

test('with 1,000 locks one more takes effect at once, and all of them survive', async () => {
  const place = makePlace();
  // As an earlier keeper has left them: asking for them one by one takes as long as all other tests here.
  const locks = Array.from({ length: 1000 }, (_, i) => ({ ...lock(`10.0.${i >> 8}.${i & 255}/32`), since: i }));
  writeFileSync(join(place.stateDir, 'locks.json'), JSON.stringify({ version: 1, locks }));
  const s = await stage(systemClock, place);
  const worker = s.worker(1);
  await worker.ready;
  for (const { subject } of locks) assert.ok(worker.lockOf(subject.replace('/32', '')), subject);
  const start = performance.now();
  await s.ask({ of: 'lock', lock: lock('198.51.100.7') });
  await until(() => worker.lockOf('198.51.100.7') !== undefined, 'the worker knows');
  assert.ok(performance.now() - start < 10_000, `${performance.now() - start} ms`);
  assert.equal(((await s.ask({ of: 'locks' })) as Lock[]).length, 1001);
  assert.equal(
    (JSON.parse(readFileSync(join(s.place.stateDir, 'locks.json'), 'utf8')) as { locks: Lock[] }).locks.length,
    1001,
  );
});

test('the keeper says no to what may not be locked', async () => {
  const s = await stage();
  for (const subject of ['0.0.0.0/0', '::/0', '127.0.0.1', '198.51.100.7/24'])
    await assert.rejects(s.ask({ of: 'lock', lock: lock(subject) }), { name: 'KeeperError' });
  await assert.rejects(s.ask({ of: 'unlock', subject: '198.51.100.7', who: 'x' }), /is not locked/);
});

test('attempts come to journal, metrics and log; each network and subscriber keeps what its setting says', async () => {
  const s = await stage();
  const worker = s.worker(1);
  const people = {
    sender: '<alice@a.example>',
    recipients: [{ recipient: '<bob@b.example>', code: 250, class: 'accepted.clean' as const }],
    reply: '250 2.0.0 bob@b.example has it',
    upstreamReply: '250 2.0.0 bob@b.example has it',
  };
  worker.record(attempt({ id: 'DISCREET', network: 'discreet', ...people }));
  worker.record(attempt({ id: 'SILENT', network: 'silent', ...people }));
  worker.record(attempt({ id: 'QUIET', network: 'customers', subscriber: 'quiet', ...people }));
  worker.record(attempt({ id: 'UNKNOWN', network: 'gone-since', ...people }));
  worker.record(
    counts({ opened: { discreet: 1 }, open: 1, upstream: [{ server: '192.0.2.25:587', up: true, connections: 2 }] }),
  );
  await until(() => s.log.events().filter((event) => event === 'attempt').length === 4, 'all are recorded');
  const found = async (filter: object): Promise<string[]> =>
    ((await s.ask({ of: 'log', filter: { limit: 10, ...filter } })) as LogAnswer).rows.map(({ id }) => id);
  await s.log.seen('journal.ok');
  while ((await found({})).length < 4);

  assert.deepEqual(await found({ sender: 'ALICE@a.example' }), ['DISCREET'], 'found under its hash');
  assert.deepEqual(await found({ recipient: '<bob@b.example>' }), ['DISCREET']);
  assert.deepEqual(await found({ subscriber: 'quiet' }), ['QUIET']);
  const everything = JSON.stringify(s.log.entries) + JSON.stringify(await s.ask({ of: 'log', filter: { limit: 10 } }));
  assert.doesNotMatch(everything, /alice|bob/);
  // What somebody looked for is what the audit is there to tell; the rest knows nobody.
  for (const name of readdirSync(s.place.stateDir).filter((each) => each !== 'audit.jsonl'))
    assert.doesNotMatch(readFileSync(join(s.place.stateDir, name), 'latin1'), /alice|bob/, name);

  worker.record(attempt({ id: 'OPEN', network: 'customers', ...people }));
  while ((await found({ sender: 'alice@a.example' })).length < 2);
  assert.deepEqual((await found({ sender: 'alice@a.example' })).sort(), ['DISCREET', 'OPEN']);
  const text = await s.metrics();
  assert.match(text, /^postern_messages_total\{network="discreet",verdict="accept",class="accepted.clean"\} 1$/m);
  assert.match(text, /^postern_messages_total\{network="other",verdict="accept",class="accepted.clean"\} 1$/m);
  assert.match(text, /^postern_sessions_open 1$/m);
  assert.match(text, /^postern_upstream_up\{server="192.0.2.25:587"\} 1$/m);
  assert.match(text, /^postern_journal_rows_total 5$/m);
});

test('intercepting: only while the guard says so, and has said so in the last five seconds', async () => {
  let monotonicMs = 0;
  const s = await stage({ nowMs: () => Date.now(), monotonicMs: () => monotonicMs });
  const status = async (): Promise<Status> => (await s.ask({ of: 'status' })) as Status;
  assert.match(String((await status()).problem), /guard has not reported/);
  const guard = await s.speaker(hello('guard'));
  const report = (change: object): void => void guard.peer.send({ kind: 'kernel', report: kernelReport(change) });

  report({
    refused: [{ network: 'unrouted', reason: 'unrouted', packets: 7 }],
    exemptTo: [{ prefix: '192.0.2.10/32', packets: 3 }],
  });
  let now = await status();
  while (now.kernel === undefined) now = await status();
  assert.deepEqual([now.intercepting, now.problem], [true, undefined]);
  assert.deepEqual(now.waysRound.exemptTo, [{ prefix: '192.0.2.10/32', packets: 3, reason: 'our own MX' }]);
  assert.match(await s.metrics(), /^postern_intercept_alive 1$/m);
  assert.match(await s.metrics(), /^postern_refused_connections_total\{network="unrouted",reason="unrouted"\} 7$/m);

  monotonicMs += 5_001;
  now = await status();
  assert.equal(now.intercepting, false);
  assert.match(String(now.problem), /silent for 5 s/);
  assert.match(await s.metrics(), /^postern_intercept_alive 0$/m);

  // Some are missing: the others are intercepted. All are: nothing is.
  const inside = [
    { interface: 'lan0', present: true },
    { interface: 'lna0', present: false },
  ];
  report({ inside });
  while (!now.intercepting) now = await status();
  assert.deepEqual(now.waysRound.missingInterfaces, ['lna0']);
  assert.match(await s.metrics(), /^postern_interface_present\{interface="lan0"\} 1$/m);
  const healthz = async (): Promise<[number, string]> => {
    const response = await fetch(`http://127.0.0.1:${s.keeper.metricsPort()}/healthz`);
    return [response.status, await response.text()];
  };
  assert.deepEqual(await healthz(), [200, 'ok\n']);
  report({ inside: inside.map((one) => ({ ...one, present: false })) });
  while (now.intercepting) now = await status();
  assert.match(String(now.problem), /^no interface of intercept\.inside exists \(lan0, lna0\): nothing is intercepted/);
  assert.deepEqual(await healthz(), [503, `${now.problem}\n`]);
  assert.match(await s.metrics(), /^postern_intercept_alive 0$/m);
  assert.match(await s.metrics(), /^postern_interface_present\{interface="lan0"\} 0$/m);

  report({ alive: false });
  while (!/no worker answers/.test(String(now.problem))) now = await status();
  assert.equal(now.intercepting, false);
});

test('a worker that is gone is no longer counted, one that came back is', async () => {
  const s = await stage();
  const old = await s.speaker(hello('worker', 1));
  old.peer.send({ kind: 'events', batch: [counts({ open: 5 })] });
  const young = await s.speaker(hello('worker', 1));
  young.peer.send({ kind: 'events', batch: [counts({ open: 2 })] });
  await until(() => s.log.events().filter((event) => event === 'keeper.joined').length === 2, 'both are there');
  await old.peer.close();
  await s.log.seen('keeper.left');
  const status = (await s.ask({ of: 'status' })) as Status;
  assert.deepEqual(
    status.workers.connected.map(({ worker, open }) => [worker, open]),
    [[1, 2]],
  );
  await young.peer.close();
  await until(() => s.log.events().filter((event) => event === 'keeper.left').length === 2, 'it has left');
  assert.equal(((await s.ask({ of: 'status' })) as Status).sessionsOpen, 0);
});

for (const [what, first, then] of [
  ['something before hello', undefined, { kind: 'release', sources: [] }],
  ['hello twice', hello('cli'), hello('guard')],
  ['a worker without a number', hello('worker'), undefined],
  ['a report from a worker', hello('worker', 1), { kind: 'kernel', report: kernelReport() }],
  ['a question from a worker', hello('worker', 1), { kind: 'ask', ask: 1, question: { of: 'status' } }],
  ['events from the guard', hello('guard'), { kind: 'events', batch: [] }],
  ['a lock list from anybody', hello('guard'), { kind: 'locks', locks: [] }],
  ['an admission from the CLI', hello('cli'), { kind: 'admit', asks: [] }],
] as const) {
  test(`${what}: the connection ends, the keeper goes on`, async () => {
    const s = await stage();
    const { peer, down } = await s.speaker(first);
    if (then) peer.send(then);
    await down;
    assert.ok(await s.ask({ of: 'status' }));
  });
}

test('a second keeper for the same directory does not start', async () => {
  const s = await stage();
  await assert.rejects(stageKeeper(systemClock, s.place), /another process listens there/);
  assert.ok(await s.ask({ of: 'status' }));
});

// The role as a process.

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

type Role = {
  readonly child: ChildProcess;
  readonly place: Place;
  readonly port: number;
  readonly seen: (event: string, times?: number) => Promise<void>;
  readonly lines: string[];
};

async function startRole(): Promise<Role> {
  const port = await freePort();
  const place = makePlace(port);
  cleanups.push(place.remove);
  const main = join(import.meta.dirname, '../../../src/main.ts');
  const child = spawn(process.execPath, [main, 'keeper', '--config', place.configPath], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cleanups.push(async () => {
    if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit');
  });
  const lines: string[] = [];
  createInterface(child.stdout).on('line', (line) => lines.push(line));
  const seen = (event: string, times = 1): Promise<void> =>
    until(() => lines.filter((line) => line.includes(`"event":"${event}"`)).length >= times, event);
  await seen('keeper.ready');
  return { child, place, port, seen, lines };
}

test('SIGTERM: what workers have said is written, the socket goes, exit status 0', async () => {
  const { child, place } = await startRole();
  const life = new AbortController();
  const paths = runPaths(place.runDir);
  const worker = createLedger(
    { path: paths.keeperSocket, worker: 1, workers: 1, keeperFailure: 'local', clock: systemClock, log: logbook() },
    life.signal,
  );
  await worker.ready;
  for (let i = 0; i < 1500; i++) worker.record(attempt({ id: `T${i}`, network: 'customers' }));
  await worker.close();
  child.kill('SIGTERM');
  const [status] = (await once(child, 'exit')) as [number];
  assert.equal(status, 0);
  assert.equal(search(join(place.stateDir, 'journal.db'), { limit: 10_000 }).rows.length, 1500);
  assert.deepEqual(readdirSync(paths.keeperDir), []);
  for (const name of readdirSync(place.stateDir))
    assert.equal(statSync(join(place.stateDir, name)).mode & 0o077, 0, name);
});

test('SIGHUP: a good configuration is taken, a bad one is refused, said and counted', async () => {
  const { child, place, port, seen } = await startRole();
  const metrics = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  place.write({ networks: '[[network]]\nname = "fresh"\nprefixes = ["198.51.100.0/24"]\n' });
  child.kill('SIGHUP');
  await seen('config.reloaded');
  assert.match(await metrics(), /postern_sessions_total\{network="fresh"\} 0/);
  assert.match(await metrics(), /postern_config_errors_total\{role="keeper"\} 0/);
  place.write({ journal: 'keep = "no time"' });
  child.kill('SIGHUP');
  await seen('config.invalid');
  assert.match(await metrics(), /postern_config_errors_total\{role="keeper"\} 1/);
  assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 503);
});
