import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { probe } from '../../../src/guard/probe.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-probe-'));
const servers: Server[] = [];
after(() => {
  for (const server of servers) server.close();
  rmSync(directory, { recursive: true });
});

async function listener(serve: (socket: Socket) => void): Promise<string> {
  const path = join(directory, `${servers.length}.probe`);
  const server = createServer((socket) => {
    socket.on('error', () => {});
    serve(socket);
  });
  servers.push(server);
  server.listen(path);
  await once(server, 'listening');
  return path;
}

const cases: Readonly<Record<string, readonly [(socket: Socket) => void, boolean]>> = {
  'a greeting': [(socket) => socket.end('220 worker 1 probe\r\n'), true],
  'a greeting in two parts': [
    (socket) => void (socket.write('22'), setImmediate(() => socket.write('0 worker\r\n'))),
    true,
  ],
  'another reply': [(socket) => socket.end('421 too busy\r\n'), false],
  'half a greeting': [(socket) => socket.end('220 wor'), false],
  'a line without an end': [(socket) => socket.write('220 '.repeat(1000)), false],
  'an end at once': [(socket) => socket.destroy(), false],
};
for (const [what, [serve, expected]] of Object.entries(cases)) {
  test(`${what}: ${expected ? 'alive' : 'no answer'}`, async () => {
    // Decided by what comes, and long before the deadline.
    assert.equal(await probe(await listener(serve), 600_000), expected);
  });
}

test('silence is no answer when the deadline has passed', async () => {
  assert.equal(await probe(await listener(() => {}), 50), false);
});

test('nobody there is no answer', async () => assert.equal(await probe(join(directory, 'none.probe'), 5_000), false));
