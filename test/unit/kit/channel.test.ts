import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { spawnSync } from 'node:child_process';
import {
  type Channel,
  connectChannel,
  dialChannel,
  type Handlers,
  listenChannel,
  MAX_LINE_BYTES,
  type Peer,
} from '../../../src/kit/channel.ts';
import { inbox } from '../../kit/wait.ts';

type Word = { readonly word: string };
const check = (raw: unknown): Word | undefined =>
  typeof (raw as Word | null)?.word === 'string' ? (raw as Word) : undefined;

let dir: string;
let path: string;
let stop: AbortController;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'channel-'));
  path = join(dir, 'a.sock');
  stop = new AbortController();
});
afterEach(() => {
  stop.abort();
  rmSync(dir, { recursive: true, force: true });
});

function echo(downs: string[] = []): (peer: Peer) => Handlers<Word> {
  return (peer) => ({
    check,
    onMessage: ({ word }) => void peer.send({ word: `${word}!` }),
    onDown: (why) => downs.push(why),
  });
}

const unheard = { check, onMessage() {}, onDown() {} };

test('messages go both ways, whatever is in them', async () => {
  await listenChannel(path, { mode: 0o600, onConnection: echo() }, stop.signal);
  const got = inbox<Word>();
  const peer = await dialChannel(path, { ...unheard, onMessage: got.put });
  for (const word of ['a', 'line\nbreak\r\n', '\u2028\0', 'ü'.repeat(100_000)]) {
    assert.equal(peer.send({ word }), true);
    assert.deepEqual(await got.next(), { word: `${word}!` });
  }
});

test('what one turn of the loop says goes out in one write', async (t) => {
  await listenChannel(path, { mode: 0o600, onConnection: () => unheard }, stop.signal);
  const peer = await dialChannel(path, unheard);
  const write = t.mock.method(Socket.prototype, 'write');
  for (let i = 0; i < 100; i++) peer.send({ word: `w${i}` });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(write.mock.callCount(), 1);
  assert.equal(String(write.mock.calls[0]?.arguments[0]).split('\n').length - 1, 100);
});

test('the same bytes in any segments give the same messages', async () => {
  const got = inbox<Word>();
  await listenChannel(path, { mode: 0o600, onConnection: () => ({ ...unheard, onMessage: got.put }) }, stop.signal);
  const bytes = Buffer.from('{"word":"eins"}\n{"word":"zwölf"}\n');
  for (let cut = 1; cut < bytes.length; cut++) {
    const socket = createConnection(path);
    await once(socket, 'connect');
    socket.write(bytes.subarray(0, cut));
    // The other end is in this process: after a few turns of the loop it has read the first part by itself.
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    socket.end(bytes.subarray(cut));
    assert.deepEqual([await got.next(), await got.next()], [{ word: 'eins' }, { word: 'zwölf' }], `cut at ${cut}`);
  }
});

for (const [what, bytes] of [
  ['no JSON', 'hello\n'],
  ['JSON that check does not take', '{"word":1}\n'],
  ['null', 'null\n'],
  ['an empty line', '\n'],
] as const) {
  test(`${what} ends the connection, and nothing after it is heard`, async () => {
    const heard: Word[] = [];
    const downs = inbox<string>();
    await listenChannel(
      path,
      { mode: 0o600, onConnection: () => ({ check, onMessage: (word) => heard.push(word), onDown: downs.put }) },
      stop.signal,
    );
    const socket = createConnection(path);
    socket.on('error', () => {});
    socket.write(`{"word":"before"}\n${bytes}{"word":"after"}\n`);
    assert.equal(await downs.next(), 'a message that is none of ours');
    assert.deepEqual(heard, [{ word: 'before' }]);
  });
}

test('a line over 4 MiB ends the connection before it is whole, and is not sent by us', async () => {
  const downs = inbox<string>();
  await listenChannel(path, { mode: 0o600, onConnection: () => ({ ...unheard, onDown: downs.put }) }, stop.signal);
  const socket = createConnection(path);
  socket.on('error', () => {});
  const block = Buffer.alloc(1024 * 1024, 'x');
  for (let i = 0; i < 5; i++) socket.write(block);
  assert.equal(await downs.next(), 'a line longer than 4 MiB');

  const peer = await dialChannel(path, unheard);
  assert.equal(peer.send({ word: 'x'.repeat(MAX_LINE_BYTES) }), false);
  assert.equal(peer.send({ word: 'x'.repeat(MAX_LINE_BYTES - 20) }), true);
});

test('a reader that does not read: send says false at 8 MiB, and memory stays', async () => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.pause()));
  server.listen(path);
  await once(server, 'listening');
  const peer = await dialChannel(path, unheard);
  const word = 'x'.repeat(100_000);
  let sent = 0;
  for (let i = 0; i < 1000; i++) {
    if (peer.send({ word })) sent++;
    if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(sent >= 80 && sent < 110, `${sent} of 1000 were taken`);
  for (const socket of sockets) socket.destroy();
  server.close();
});

test('a channel comes back by itself, and says so', async () => {
  const ups = inbox<string>();
  const downs = inbox<string>();
  const got = inbox<Word>();
  const channel: Channel = connectChannel<Word>(
    path,
    { check, onMessage: got.put, onUp: (send) => ups.put(String(send({ word: 'hello' }))), onDown: downs.put },
    stop.signal,
  );
  assert.equal(channel.send({ word: 'too early' }), false);
  for (let round = 0; round < 3; round++) {
    const life = new AbortController();
    const { closed } = await listenChannel(path, { mode: 0o600, onConnection: echo() }, life.signal);
    assert.equal(await ups.next(), 'true');
    assert.deepEqual(await got.next(), { word: 'hello!' });
    assert.equal(channel.isUp(), true);
    life.abort();
    await closed;
    await downs.next();
    assert.equal(channel.isUp(), false);
    assert.equal(channel.send({ word: 'away' }), false);
  }
  await channel.close();
});

test('close sends what was said before it', async () => {
  const got = inbox<Word>();
  await listenChannel(path, { mode: 0o600, onConnection: () => ({ ...unheard, onMessage: got.put }) }, stop.signal);
  const peer = await dialChannel(path, unheard);
  for (let i = 0; i < 50; i++) peer.send({ word: String(i) });
  await peer.close();
  assert.equal(peer.send({ word: 'late' }), false);
  for (let i = 0; i < 50; i++) assert.deepEqual(await got.next(), { word: String(i) });
});

test('the socket file has its mode, and goes when the listener does', async () => {
  const life = new AbortController();
  const { closed } = await listenChannel(path, { mode: 0o660, onConnection: echo() }, life.signal);
  assert.equal(statSync(path).mode & 0o777, 0o660);
  assert.deepEqual(readdirSync(dir), ['a.sock']);
  life.abort();
  await closed;
  assert.deepEqual(readdirSync(dir), []);
});

test('a file left by a killed process is replaced', async () => {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  assert.ok(statSync(path).isSocket(), 'the killed process left its file');
  await listenChannel(path, { mode: 0o600, onConnection: echo() }, stop.signal);
  const got = inbox<Word>();
  const peer = await dialChannel(path, { ...unheard, onMessage: got.put });
  peer.send({ word: 'a' });
  assert.deepEqual(await got.next(), { word: 'a!' });
});

test('a listener that lives, a file that is no socket and a path that is too long are refused', async () => {
  await listenChannel(path, { mode: 0o600, onConnection: echo() }, stop.signal);
  await assert.rejects(
    listenChannel(path, { mode: 0o600, onConnection: echo() }, stop.signal),
    /another process listens/,
  );
  const file = join(dir, 'file');
  writeFileSync(file, 'precious');
  await assert.rejects(listenChannel(file, { mode: 0o600, onConnection: echo() }, stop.signal), /is no socket/);
  assert.equal(statSync(file).size, 8);
  await assert.rejects(
    listenChannel(`/tmp/${'x'.repeat(120)}`, { mode: 0o600, onConnection: echo() }, stop.signal),
    /shorter run_dir/,
  );
});

test('a listener that ends does not take away the file of the one that replaced it', async () => {
  const life = new AbortController();
  const first = await listenChannel(path, { mode: 0o600, onConnection: echo() }, life.signal);
  rmSync(path);
  await listenChannel(path, { mode: 0o600, onConnection: echo() }, stop.signal);
  life.abort();
  await first.closed;
  assert.ok(statSync(path).isSocket());
});

test('dialing where nobody listens rejects with the reason', async () => {
  await assert.rejects(dialChannel(path, unheard), { code: 'ENOENT' });
});
