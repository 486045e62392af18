/**
 * Hosts that are slow on purpose, against a real worker: an octet now and then in a command, a header or a body, and hosts
 * that never read. Every one is cut off by a deadline that its octets do not put off, and the others are served meanwhile.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type FakeUpstream, startFakeUpstream } from '../fake/upstream.ts';
import { Client, codeOf } from '../kit/client.ts';
import { count } from '../kit/tier.ts';
import { residentBytes } from '../kit/whole.ts';
import { startWorker, type TestWorker } from '../kit/worker.ts';

const COMMAND_MS = 4000;
const DATA_MS = 5000;
const WRITE_MS = 3000;
/** between the octets: far below every deadline, so that an idle timer alone would never fire */
const OCTET_MS = 100;
/** A busy machine may be late, never early. */
const LATE_MS = 60_000;
const HOSTS = count(100, 5000);
const AT_ONCE = 250;

let fake: FakeUpstream;
let worker: TestWorker;
before(async () => {
  fake = await startFakeUpstream();
  worker = await startWorker([fake.endpoint], {
    limits: `command_timeout = "${COMMAND_MS}ms"\ndata_timeout = "${DATA_MS}ms"\nwrite_timeout = "${WRITE_MS}ms"`,
    // None of them waits for a connection that another of them holds.
    smarthost: 'max_connections = 1000\nhold = "100ms"',
  });
});
after(async () => {
  await worker.close();
  await fake.close();
});

const ENVELOPE = ['EHLO a.example', 'MAIL FROM:<a@a.example>', 'RCPT TO:<b@b.example>', 'DATA'];

/** Where the octets fall, what was said before, and how long it may last. */
const KINDS = [
  { where: 'a command', lines: [], octet: 'E', deadlineMs: COMMAND_MS },
  { where: 'the end of a command', lines: ['EHLO a.example', 'NOOP'], octet: ' ', deadlineMs: COMMAND_MS },
  { where: 'a header', lines: ENVELOPE, octet: 'X', deadlineMs: DATA_MS },
  { where: 'a body', lines: [...ENVELOPE, 'From: a@a.example\r\n'], octet: 'x', deadlineMs: DATA_MS },
] as const;

/** One host that drips until it is told to go; what it was told, and how long it lasted. */
async function drip({ lines, octet }: (typeof KINDS)[number]): Promise<{ last: string; lastedMs: number }> {
  // Before the worker's clock begins, so that what it cuts off too early shows, however late we hear of anything.
  const begin = performance.now();
  const host = await Client.connect(worker.port);
  await host.reply();
  for (const line of lines) {
    if (line.endsWith('\r\n')) host.write(`${line}\r\n`);
    else assert.ok(codeOf(await host.ask(line)) < 400, line);
  }
  const timer = setInterval(() => host.write(octet), OCTET_MS);
  try {
    const last = await host.reply();
    return { last, lastedMs: performance.now() - begin };
  } finally {
    clearInterval(timer);
    host.close();
  }
}

describe(`${HOSTS} hosts that send an octet each ${OCTET_MS} ms are cut off`, { concurrency: true }, () => {
  for (const kind of KINDS) test(`in ${kind.where}`, () => cutOff(kind));
});

async function cutOff(kind: (typeof KINDS)[number]): Promise<void> {
  for (let at = 0; at < HOSTS; at += AT_ONCE) {
    const drips = Promise.all(Array.from({ length: Math.min(AT_ONCE, HOSTS - at) }, () => drip(kind)));
    // A host that does nothing of the kind is served meanwhile.
    const other = await Client.connect(worker.port);
    await other.reply();
    for (const line of ENVELOPE) assert.ok(codeOf(await other.ask(line)) < 400, line);
    assert.match(await other.ask('From: a@a.example\r\n\r\nhello\r\n.'), /^250 /);
    other.close();
    for (const { last, lastedMs } of await drips) {
      assert.match(last, /^421 4\.4\.2 .*\[limit\.time id=/);
      assert.ok(lastedMs > kind.deadlineMs && lastedMs < kind.deadlineMs + LATE_MS, `${lastedMs} ms`);
    }
  }
}

/** Commands whose replies, 24 MiB of them, are more than the kernel takes for a host that does not read. */
const QUESTIONS = Buffer.alloc(24 * 64 * 1024, 'HELP\r\n');

/** A host that asks and never reads, until it is cut off; resolves with how long that took. */
async function neverReads(): Promise<number> {
  const host: Socket = connect({ port: worker.port, host: '127.0.0.1' });
  host.pause();
  await once(host, 'connect');
  const begin = performance.now();
  // The end shows in that it can send no more.
  const gone = new Promise<void>((resolve) => {
    host.on('error', () => resolve()).on('close', () => resolve());
  });
  host.write(QUESTIONS);
  const timer = setInterval(() => void (host.writableLength < 1 << 20 && host.write('N')), OCTET_MS);
  await gone;
  clearInterval(timer);
  host.destroy();
  return performance.now() - begin;
}

test('hosts that never read are cut off, and hold no more than a bound', async (t) => {
  const hosts = count(10, 50);
  // What is compiled and set up at the first such hosts is no cost of each.
  await Promise.all(Array.from({ length: 4 }, neverReads));
  const before = residentBytes([worker.pid]);
  let peak = 0;
  const watch = setInterval(() => (peak = Math.max(peak, residentBytes([worker.pid]))), 20);
  const lasted = await Promise.all(Array.from({ length: hosts }, neverReads));
  clearInterval(watch);
  const moreBytes = peak - before;
  t.diagnostic(
    `${hosts} hosts: ${(moreBytes / 2 ** 20).toFixed(0)} MiB more, all gone after ${Math.max(...lasted).toFixed(0)} ms`,
  );
  // Some 200 KiB wait at most for each (unit/gateway/driver.test.ts counts them); the rest is what is not collected yet.
  // All replies would be 24 MiB for each.
  assert.ok(moreBytes < hosts * 200 * 1024 + 120 * 2 ** 20, `${moreBytes} octets`);
  assert.ok(Math.max(...lasted) < WRITE_MS + LATE_MS, `${Math.max(...lasted)} ms`);
  const other = await Client.connect(worker.port);
  assert.match(await other.reply(), /^220 /);
  other.close();
});
