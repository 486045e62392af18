import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, connect, type AddressInfo } from 'node:net';
import { afterEach, test } from 'node:test';
import { silentLog } from '../../../src/kit/log.ts';
import { type Exporter, type ExporterOptions, startExporter } from '../../../src/record/exporter.ts';
import { serverOfNext } from '../../kit/http-server.ts';
import { logbook } from '../../kit/logbook.ts';
import { until } from '../../kit/wait.ts';

let exporter: Exporter | undefined;
afterEach(async () => {
  await exporter?.close();
  exporter = undefined;
});

async function start(change: Partial<ExporterOptions> = {}): Promise<string> {
  const started = startExporter({
    host: '127.0.0.1',
    port: 0,
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    render: () => Promise.resolve('postern_up 1\n'),
    problem: () => undefined,
    log: silentLog,
    ...change,
  });
  exporter = started;
  await until(() => started.port() !== undefined, 'it listens');
  return `http://127.0.0.1:${started.port()}`;
}

test('GET /metrics gives the text, with its type; HEAD its head', async () => {
  const url = await start();
  const response = await fetch(`${url}/metrics?x=1`);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  assert.equal(await response.text(), 'postern_up 1\n');
  const head = await fetch(`${url}/metrics`, { method: 'HEAD' });
  assert.deepEqual([head.status, head.headers.get('content-length'), await head.text()], [200, '13', '']);
});

test('/healthz says ok, or what is wrong with 503', async () => {
  let problem: string | undefined;
  const url = await start({ problem: () => problem });
  const ok = await fetch(`${url}/healthz`);
  assert.deepEqual([ok.status, await ok.text()], [200, 'ok\n']);
  problem = 'the guard has been silent for 9 s';
  const bad = await fetch(`${url}/healthz`);
  assert.deepEqual([bad.status, await bad.text()], [503, 'the guard has been silent for 9 s\n']);
});

test('a connection that could not be accepted is no reason to listen again', async (t) => {
  const url = await start();
  const server = serverOfNext();
  await fetch(`${url}/healthz`);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  (await server).emit('error', new Error('accept EMFILE'));
  t.mock.timers.tick(60_000);
  t.mock.timers.reset();
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
});

test('nothing else is served', async () => {
  const url = await start();
  for (const path of ['/', '/metrics/', '/../etc/passwd', '/%2e%2e/', '//metrics', '/debug']) {
    assert.equal((await fetch(url + path)).status, 404, path);
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    const response = await fetch(`${url}/metrics`, { method });
    assert.deepEqual([response.status, response.headers.get('allow')], [405, 'GET, HEAD'], method);
  }
});

test('a page that cannot be made is a 500 and no crash', async () => {
  const log = logbook();
  const url = await start({ render: () => Promise.reject(new Error('boom')), log });
  assert.equal((await fetch(`${url}/metrics`)).status, 500);
  assert.deepEqual(log.events(), ['metrics.failed']);
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
});

test('whoever holds connections open silently leaves room for others only up to 32, and a long head is refused', async () => {
  const url = await start();
  const port = Number(new URL(url).port);
  const socket = connect(port, '127.0.0.1');
  const chunks: string[] = [];
  socket.on('data', (chunk) => chunks.push(String(chunk)));
  socket.write(`GET /metrics HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`);
  await once(socket, 'close');
  assert.match(chunks.join(''), /^HTTP\/1\.1 431 /);

  const held = Array.from({ length: 40 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  let closed = 0;
  for (const one of held) one.on('close', () => closed++);
  await until(() => closed >= 8, 'those beyond 32 are closed');
  assert.equal(closed, 8);
  for (const one of held) one.destroy();
  await until(() => closed === 40, 'all are gone');
  assert.equal((await fetch(`${url}/metrics`)).status, 200);
});

test('a port that is taken is said, and tried again', async () => {
  const log = logbook();
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  exporter = startExporter({
    host: '127.0.0.1',
    port: (other.address() as AddressInfo).port,
    contentType: 'text/plain',
    render: () => Promise.resolve(''),
    problem: () => undefined,
    log,
  });
  assert.equal((await log.seen('metrics.not-listening'))['error'], 'EADDRINUSE');
  other.close();
});
