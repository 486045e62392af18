/**
 * A smarthost that takes 10 kB a second, and hosts that send 25 MB each: bodies wait in files in memory (tmpfs) and not in
 * the worker, and when limits.body_total is in use the others are told 452. Nobody is told 250.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { type FakeUpstream, startFakeUpstream } from '../fake/upstream.ts';
import { Client, codeOf } from '../kit/client.ts';
import { count } from '../kit/tier.ts';
import { until } from '../kit/wait.ts';
import { startWorker, type TestWorker } from '../kit/worker.ts';

const HOSTS = count(20, 100);
const MESSAGE_BYTES = 25 * 1000 * 1000;
/** room for two fifths of them */
const ROOM_MIB = Math.ceil((HOSTS * 0.4 * MESSAGE_BYTES) / 2 ** 20) + 5;
const ROOM_BYTES = ROOM_MIB * 2 ** 20;
const MAX_RESIDENT_BYTES = 300 * 1000 * 1000;
const LINES = Buffer.alloc(64 * 1000, `${'x'.repeat(98)}\r\n`);

const ENVELOPE = ['EHLO a.example', 'MAIL FROM:<a@a.example>', 'RCPT TO:<b@b.example>', 'DATA'];

let fake: FakeUpstream;
let worker: TestWorker;
before(async () => {
  // Where tests keep files is a disk; bodies are meant for memory.
  process.env['TMPDIR'] = '/dev/shm';
  fake = await startFakeUpstream({ readBytesPerSecond: 10_000 });
  worker = await startWorker([fake.endpoint], {
    limits: `message_size = "50MiB"\nbody_total = "${ROOM_MIB}MiB"`,
    smarthost: 'hold = "30s"\nmax_connections = 200',
  });
});
after(async () => {
  await worker.close();
  await fake.close();
});

/** The most that was ever resident of the worker. */
function peakBytes(): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${worker.pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** How large the files without a name are that the worker has open. */
function bodyFiles(): number[] {
  const fds = `/proc/${worker.pid}/fd`;
  return readdirSync(fds)
    .filter((fd) => /\/spool\/body\..* \(deleted\)$/.test(readlinkSync(`${fds}/${fd}`)))
    .map((fd) => statSync(`${fds}/${fd}`).size);
}

/** One message; resolves when its last octet is written, with the reply to come. */
async function send(): Promise<{ readonly reply: Promise<string> }> {
  const host = await Client.connect(worker.port);
  await host.reply();
  for (const line of ENVELOPE) assert.ok(codeOf(await host.ask(line)) < 400, line);
  host.write('From: a@a.example\r\n\r\n');
  for (let sent = 0; sent < MESSAGE_BYTES; sent += LINES.length) {
    if (!host.socket.write(LINES)) await new Promise((resolve) => host.socket.once('drain', resolve));
  }
  host.write('.\r\n');
  return { reply: host.reply() };
}

test(`${HOSTS} messages of 25 MB for a smarthost that takes 10 kB a second`, async (t) => {
  const replies: string[] = [];
  const sent = await Promise.all(Array.from({ length: HOSTS }, send));
  const all = Promise.all(sent.map(({ reply }) => reply.then((text) => replies.push(text))));
  // Those that found no room are told so at once; the others wait for the smarthost.
  const fit = Math.floor(ROOM_BYTES / MESSAGE_BYTES);
  await until(() => replies.length >= HOSTS - fit, 'those that found no room are told', 60_000);
  for (const reply of replies) assert.match(reply, /^452 4\.3\.1 .*\[limit\.memory id=/);
  const refused = replies.length;
  const filesBytes = bodyFiles().reduce((sum, bytes) => sum + bytes, 0);
  t.diagnostic(
    `${refused} of ${HOSTS} refused, ${(filesBytes / 1e6).toFixed(0)} MB in files, at most ${(peakBytes() / 1e6).toFixed(0)} MB resident`,
  );
  assert.ok(filesBytes <= ROOM_BYTES, `${filesBytes} octets in files`);
  assert.ok(peakBytes() < MAX_RESIDENT_BYTES, `${peakBytes()} octets`);

  // What is left of the room is free: a small message passes beside them.
  const other = await Client.connect(worker.port);
  await other.reply();
  for (const line of ENVELOPE) assert.ok(codeOf(await other.ask(line)) < 400, line);
  assert.match(await other.ask('From: c@a.example\r\n\r\nsmall\r\n.'), /^250 2\.0\.0 taken/);
  other.close();

  // The smarthost goes away in the middle of all of them: nobody is told that it has a message.
  fake.reset();
  await fake.close();
  await all;
  for (const reply of replies) assert.match(reply, /^4\d\d /);
  assert.equal(fake.messages.length, 1, 'the small one alone');
});
