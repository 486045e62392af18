/** Events to a program over HTTP: signed, in order, tried again, bounded. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { SIGNATURE, Webhook } from '../../../src/record/webhook.ts';
import { testClock } from '../../kit/clock.ts';
import { logbook } from '../../kit/logbook.ts';
import { until } from '../../kit/wait.ts';

const SECRET = 'between us';

type Got = { readonly headers: IncomingMessage['headers']; readonly body: string };
type Place = { readonly url: string; readonly got: Got[]; answer: (n: number) => number };

async function program(t: TestContext): Promise<Place> {
  const place: Place = { url: '', got: [], answer: () => 204 };
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      place.got.push({ headers: request.headers, body });
      const status = place.answer(place.got.length);
      response.writeHead(status, status === 302 ? { location: `${url}/elsewhere` } : {}).end('ignored');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(place, { url });
}

function hookTo(t: TestContext, url: string, secret: string | null = SECRET) {
  const directory = mkdtempSync(join(tmpdir(), 'postern-test-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const secretFile = join(directory, 'secret');
  if (secret !== null) writeFileSync(secretFile, `${secret}\n`);
  const [clock, log] = [testClock(), logbook()];
  const hook = new Webhook(
    { name: 'desk', url, secretFile },
    { gateway: 'gw1.example.net', clock, log, firstRetryMs: 5 },
  );
  t.after(() => hook.close());
  return { hook, clock, log };
}

test('an event is JSON, signed with the time; the signature holds for these octets alone', async (t) => {
  const place = await program(t);
  const { hook } = hookTo(t, place.url);
  hook.tell('lock', { subject: '198.51.100.7/32' });
  await until(() => place.got.length === 1, 'it came');
  const [{ headers, body } = { headers: {}, body: '' }] = place.got;
  const [, seconds, signature] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers[SIGNATURE])) ?? [];
  assert.equal(signature, createHmac('sha256', SECRET).update(`${seconds}.${body}`).digest('hex'));
  assert.ok(Math.abs(Number(seconds) * 1000 - Date.now()) < 60_000);
  const { id, at, ...rest } = JSON.parse(body) as Record<string, unknown>;
  assert.match(String(id), /^[0-9a-f-]{36}$/);
  assert.ok(Math.abs(Number(at) - Date.now()) < 60_000);
  assert.deepEqual(rest, { gateway: 'gw1.example.net', event: 'lock', data: { subject: '198.51.100.7/32' } });
});

test('what is not taken is tried again, the same event, and those behind it wait: nothing is lost, the order stays', async (t) => {
  const place = await program(t);
  place.answer = (n) => [500, 429, 503, 204][n - 1] ?? 204;
  const { hook, log } = hookTo(t, place.url);
  for (let i = 0; i < 5; i++) hook.tell('lock', { i });
  await until(() => place.got.length === 8, 'three in vain, five taken');
  const seen = place.got.map(({ body }) => JSON.parse(body) as { id: string; data: { i: number } });
  assert.deepEqual(
    seen.map(({ data }) => data.i),
    [0, 0, 0, 0, 1, 2, 3, 4],
  );
  assert.equal(new Set(seen.map(({ id }) => id)).size, 5);
  assert.equal(hook.dropped, 0);
  assert.equal(log.events().filter((event) => event === 'webhook.failed').length, 3);
});

test('what is refused for good is given up at once, what nobody takes after an hour; both are counted', async (t) => {
  const place = await program(t);
  place.answer = (n) => (n === 1 ? 410 : n === 2 ? 204 : 500);
  const { hook, clock, log } = hookTo(t, place.url);
  hook.tell('lock', { i: 0 });
  hook.tell('lock', { i: 1 });
  await until(() => place.got.length === 2, 'the second was taken');
  assert.equal(hook.dropped, 1);
  hook.tell('lock', { i: 2 });
  await until(() => place.got.length > 4, 'tried again and again');
  assert.equal(hook.dropped, 1);
  clock.forward(3_600_001);
  await until(() => hook.dropped === 2, 'given up');
  assert.deepEqual(log.events().filter((event) => event === 'webhook.dropped').length, 2);
});

test('it goes to no other place than the one that is named', async (t) => {
  const place = await program(t);
  place.answer = () => 302;
  const { hook, log } = hookTo(t, place.url);
  hook.tell('lock', {});
  await log.seen('webhook.failed');
  assert.ok(place.got.length >= 1);
});

test('a thousand wait, the rest is dropped; without a secret nothing is sent at all', async (t) => {
  const place = await program(t);
  place.answer = () => 500;
  const full = hookTo(t, place.url);
  for (let i = 0; i < 1005; i++) full.hook.tell('lock', { i });
  assert.equal(full.hook.dropped, 5);
  full.hook.close();
  assert.equal(full.hook.dropped, 1005);
  const before = place.got.length;
  for (const secret of [null, '']) {
    const mute = hookTo(t, place.url, secret);
    assert.ok(mute.log.events().includes('webhook.no-secret'));
    mute.hook.tell('lock', {});
    assert.equal(mute.hook.dropped, 1);
  }
  assert.ok(place.got.length - before <= 1, 'but what was under way');
});
