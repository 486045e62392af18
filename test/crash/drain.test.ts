/** SIGTERM to a real worker: what runs is finished, what comes waits a moment and is then told to come again. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type FakeUpstream, startFakeUpstream } from '../fake/upstream.ts';
import { Client, codeOf } from '../kit/client.ts';
import { startWorker, type TestWorker } from '../kit/worker.ts';

let fake: FakeUpstream;
let worker: TestWorker;

before(async () => {
  fake = await startFakeUpstream();
  worker = await startWorker([fake.endpoint], { gateway: 'drain = "30s"' });
});
after(async () => {
  await worker.close();
  await fake.close();
});

async function upToData(): Promise<Client> {
  const client = await Client.connect(worker.port);
  assert.equal(codeOf(await client.reply()), 220);
  for (const line of ['EHLO a.example', 'MAIL FROM:<a@a.example>', 'RCPT TO:<b@b.example>', 'DATA']) {
    assert.ok(codeOf(await client.ask(line)) < 400, line);
  }
  return client;
}

test('a drain with the default time: messages are finished, nobody waits over 5 s', async () => {
  const idle = await Client.connect(worker.port);
  assert.equal(codeOf(await idle.reply()), 220);
  const [first, second] = [await upToData(), await upToData()];
  const body = 'From: a@a.example\r\n\r\nhello\r\n.\r\n';

  const ended = worker.ended();
  process.kill(worker.pid, 'SIGTERM');
  assert.match(await idle.reply(), /^421 4\.3\.2 .*session\.shutdown/);
  first.write(body);
  assert.equal(codeOf(await first.reply()), 250, 'a message that was under way is taken');
  assert.match(await first.reply(), /^421 4\.3\.2 /, 'and then its session ends');

  const begin = performance.now();
  const late = await Client.connect(worker.port);
  assert.match(await late.reply(), /^421 4\.3\.2 .*session\.shutdown/);
  const waitedMs = performance.now() - begin;
  // Told after 3 s: sooner than the drain, which it would wait for otherwise.
  assert.ok(waitedMs < 20_000, `waited ${waitedMs} ms`);

  second.write(body);
  assert.equal(codeOf(await second.reply()), 250);
  assert.equal(await ended, 0, 'it ends by itself when the last message is done');
  assert.equal(fake.messages.length, 2);
});

test('what waited in the listener of a worker without messages is served by the next one', async () => {
  await worker.ready();
  const ended = worker.ended();
  process.kill(worker.pid, 'SIGTERM');
  const clients = await Promise.all(Array.from({ length: 20 }, () => Client.connect(worker.port)));
  assert.equal(await ended, 0);
  for (const client of clients) {
    const said = await client.reply();
    // One that was accepted in the last moment is told to come again; all others find the next worker.
    assert.match(said, /^(220|421 4\.3\.2) /);
    client.close();
  }
});
