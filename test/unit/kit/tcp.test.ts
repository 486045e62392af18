/** The hot path's sockets against Node's own on loopback. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, readdirSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { openListener } from '../../../src/kit/native-socket.ts';
import type { TcpSocket } from '../../../src/kit/tcp.ts';
import { type Accepted, connectTcp, TcpAcceptor } from '../../../src/kit/tcp-open.ts';
import { until } from '../../kit/wait.ts';

type Pair = { readonly ours: TcpSocket; readonly theirs: Socket; readonly accepted: Accepted };

const HOSTS = { 4: '127.0.0.1', 6: '::1' } as const;

/** A connection that Node has made to one of ours. */
async function pair(t: TestContext, family: 4 | 6 = 4, port = 24_530): Promise<Pair> {
  const fd = openListener({
    family,
    address: HOSTS[family],
    port,
    transparent: false,
    reusePort: true,
    backlog: 16,
  });
  const { promise, resolve } = Promise.withResolvers<Accepted>();
  const acceptor = new TcpAcceptor(fd, 16, resolve);
  acceptor.resume();
  const theirs = connect({ host: HOSTS[family], port, allowHalfOpen: true });
  theirs.on('error', () => {});
  const accepted = await promise;
  const ours = accepted.socket;
  ours.on('error', () => {});
  t.after(() => {
    acceptor.pause();
    closeSync(fd);
    ours.destroy();
    theirs.destroy();
  });
  return { ours, theirs, accepted };
}

async function server(t: TestContext, take: (socket: Socket) => void): Promise<number> {
  const listening: Server = createServer(take).listen(0, '127.0.0.1');
  await once(listening, 'listening');
  t.after(() => listening.close());
  return (listening.address() as { port: number }).port;
}

/** `once` would reject at the error before it. */
const closed = (socket: { on(what: 'close', run: () => void): unknown }): Promise<void> =>
  new Promise((resolve) => void socket.on('close', resolve));

const descriptors = (): number => readdirSync('/proc/self/fd').length;

for (const family of [4, 6] as const) {
  test(`IPv${family}: both ends in canonical spelling, bytes both ways`, async (t) => {
    const { ours, theirs, accepted } = await pair(t, family, 24_530 + family);
    assert.equal(accepted.remote.address, HOSTS[family]);
    assert.equal(accepted.remote.port, theirs.localPort);
    assert.deepEqual(accepted.local, { address: HOSTS[family], port: 24_530 + family });
    ours.on('data', (chunk) => ours.write(Buffer.from(`heard ${chunk.toString()}`)));
    theirs.write('hello');
    const [said] = (await once(theirs, 'data')) as [Buffer];
    assert.equal(said.toString(), 'heard hello');
  });
}

test('what the other side does not read waits, says so, and arrives whole and in order', async (t) => {
  const { ours, theirs } = await pair(t);
  const pieces = Array.from({ length: 200 }, (_, i) => randomBytes(i % 7 === 0 ? 100_000 : 50));
  theirs.pause();
  let couldAll = true;
  for (let at = 0; at < pieces.length; at += 10) {
    ours.cork();
    for (const piece of pieces.slice(at, at + 10)) ours.write(piece);
    ours.uncork();
    couldAll &&= !ours.writableNeedDrain;
  }
  for (let i = 0; i < 100; i++) ours.write(pieces[0] as Buffer);
  assert.ok(ours.writableLength > 0);
  const sent = createHash('sha256');
  for (const piece of [...pieces, ...Array.from({ length: 100 }, () => pieces[0] as Buffer)]) sent.update(piece);
  const got = createHash('sha256');
  theirs.on('data', (chunk: Buffer) => got.update(chunk)).resume();
  await once(ours, 'drain');
  assert.equal(ours.writableLength, 0);
  ours.end();
  await once(theirs, 'end');
  assert.equal(got.digest('hex'), sent.digest('hex'));
});

test('paused, it reads nothing; resumed, all that came meanwhile', async (t) => {
  const { ours, theirs } = await pair(t);
  let heard = '';
  ours.on('data', (chunk) => {
    heard += chunk.toString();
  });
  ours.pause();
  theirs.write('one');
  for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(heard, '');
  theirs.write('two');
  ours.resume();
  await until(() => heard === 'onetwo', 'both');
});

test('FIN of either side, and close when both have said it', async (t) => {
  const { ours, theirs } = await pair(t);
  theirs.end('last');
  const ended = once(ours, 'end');
  const gone = once(ours, 'close');
  ours.resume();
  await ended;
  assert.ok(ours.writable, 'what is asked can still be answered');
  ours.write(Buffer.from('answer'));
  ours.end();
  await gone;
  theirs.resume();
  await once(theirs, 'end');
});

test('hangUp: the answer arrives, and then FIN, not a reset', async (t) => {
  const { ours, theirs } = await pair(t);
  const errors: Error[] = [];
  theirs.on('error', (error) => errors.push(error));
  ours.write(Buffer.from('221 bye\r\n'));
  ours.hangUp();
  let heard = '';
  theirs.on('data', (chunk: Buffer) => {
    heard += chunk.toString();
  });
  await once(theirs, 'end');
  assert.equal(heard, '221 bye\r\n');
  assert.deepEqual(errors, []);
});

test('a reset is an error and a close, and leaves no descriptor', async (t) => {
  const before = descriptors();
  const { ours, theirs } = await pair(t);
  const failed = once(ours, 'error') as Promise<[NodeJS.ErrnoException]>;
  theirs.resetAndDestroy();
  const [error] = await failed;
  assert.equal(error.code, 'ECONNRESET');
  await until(() => ours.destroyed, 'closed');
  // The listener, and what this test's own sockets have opened for good.
  assert.ok(descriptors() <= before + 2, `${descriptors()} descriptors, ${before} before`);
});

test('a receiver gets the bytes where it wants them', async (t) => {
  const { ours, theirs } = await pair(t);
  const room = Buffer.alloc(1000);
  let at = 0;
  let direct = true;
  let lent = '';
  ours.receiver = {
    room: () => (direct ? room.subarray(at) : undefined),
    filled: (bytes) => {
      at += bytes;
    },
  };
  ours.on('data', (chunk) => {
    lent += chunk.toString();
  });
  theirs.write('to its place');
  await until(() => at === 12, 'read');
  assert.equal(room.toString('latin1', 0, at), 'to its place');
  direct = false;
  theirs.write('lent');
  await until(() => lent === 'lent', 'lent');
});

test('connect: to a name, refused, given up', async (t) => {
  const port = await server(t, (socket) => socket.end('220 hello\r\n').on('error', () => {}));
  const socket = await connectTcp('localhost', port, new AbortController().signal);
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  assert.equal(chunk.toString(), '220 hello\r\n');
  socket.destroy();
  await assert.rejects(
    connectTcp('127.0.0.1', 9, new AbortController().signal),
    /^Error: connect ECONNREFUSED 127\.0\.0\.1:9$/,
  );
  const abort = new AbortController();
  const given = connectTcp('127.0.0.1', port, abort.signal);
  abort.abort(new Error('given up'));
  await assert.rejects(given, /given up/);
});

test('what came before a reset is heard before the error', async (t) => {
  const { ours, theirs } = await pair(t);
  const heard: string[] = [];
  ours.on('data', (chunk) => heard.push(chunk.toString()));
  ours.on('error', (error: NodeJS.ErrnoException) => heard.push(error.code ?? ''));
  // Both in one turn, so that data and reset are there when the poll looks.
  theirs.write('250 taken\r\n');
  theirs.resetAndDestroy();
  await closed(ours);
  assert.deepEqual(heard, ['250 taken\r\n', 'ECONNRESET']);
});

test('paused when both sides have said FIN: closed, and the loop rests', async (t) => {
  const { ours, theirs } = await pair(t);
  ours.pause();
  ours.end();
  theirs.end('unread');
  theirs.resume();
  await once(ours, 'close', { signal: AbortSignal.timeout(2000) });
});

test('several writes to a side that has reset: one error, one close, and nothing waits', async (t) => {
  const { ours, theirs } = await pair(t);
  const errors: Error[] = [];
  ours.on('error', (error) => errors.push(error));
  ours.pause();
  theirs.resetAndDestroy();
  await closed(theirs);
  ours.cork();
  for (let i = 0; i < 5; i++) ours.write(Buffer.alloc(100_000));
  ours.uncork();
  await closed(ours);
  assert.equal(errors.length, 1);
  assert.equal(ours.writableLength, 0);
});
