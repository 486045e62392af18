/** A resolver's word about what is true: taken from the AD bit, over TCP, and never from what is no answer. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { SecureDns, type SecureType } from '../../../src/kit/secure-dns.ts';
import { FakeDns } from '../../fake/dns.ts';
import { randomFrom } from '../../kit/random.ts';

const zone = {
  'secure.example.org': { A: ['192.0.2.1'], AAAA: ['2001:db8::1'], MX: ['mx.example.org'], isSecure: true },
  'plain.example.org': { A: ['192.0.2.1', '192.0.2.2'], TXT: ['x'.repeat(300)] },
  '_25._tcp.mx.example.org': { TLSA: ['3 1 1 00ff'], isSecure: true },
  'forged.example.org': { isForged: true },
};
const server = new FakeDns(zone);
let dns: SecureDns;
before(async () => {
  await server.start();
  dns = new SecureDns({ address: '127.0.0.1', port: server.port });
});
after(() => server.close());

const ask = (name: string, type: SecureType): Promise<unknown> => dns.ask(name, type, 5000);

test('values of each type, and whether they are true', async () => {
  const found = (isSecure: boolean, ...values: string[]) => ({ kind: 'found', isSecure, values });
  assert.deepEqual(await ask('secure.example.org', 'A'), found(true, '192.0.2.1'));
  assert.deepEqual(await ask('secure.example.org', 'AAAA'), found(true, '2001:db8::1'));
  assert.deepEqual(await ask('secure.example.org', 'MX'), found(true, '10 mx.example.org'));
  assert.deepEqual(await ask('plain.example.org', 'A'), found(false, '192.0.2.1', '192.0.2.2'));
  assert.deepEqual(await ask('plain.example.org', 'TXT'), found(false, 'x'.repeat(300)));
  assert.deepEqual(await ask('_25._tcp.mx.example.org', 'TLSA'), found(true, '3 1 1 00ff'));
  assert.deepEqual(await ask('secure.example.org', 'TLSA'), { kind: 'none', isSecure: true });
  assert.deepEqual(await ask('nowhere.example.org', 'A'), { kind: 'none', isSecure: false });
  assert.deepEqual(await ask('forged.example.org', 'A'), { kind: 'failed', reason: 'SERVFAIL' });
  for (const none of ['', 'a..b', `${'a'.repeat(64)}.example.org`])
    assert.deepEqual(await ask(none, 'A'), { kind: 'none', isSecure: false }, none);
});

test('asked once while the answer holds; who asks at the same time shares it; a failure is asked again', async () => {
  const before = server.asked.length;
  const fresh = new SecureDns({ address: '127.0.0.1', port: server.port });
  await Promise.all([1, 2, 3].map(() => fresh.ask('plain.example.org', 'A', 5000)));
  await fresh.ask('plain.example.org', 'A', 5000);
  assert.equal(server.asked.length, before + 1);
  for (let i = 0; i < 2; i++) await fresh.ask('forged.example.org', 'A', 5000);
  assert.equal(server.asked.length, before + 3);
});

test('nobody there, no answer, garbage: failed, in time', async () => {
  for (const behaviour of ['hang', 'garbage', 'servfail'] as const) {
    server.behaviour = behaviour;
    const found = await new SecureDns({ address: '127.0.0.1', port: server.port }).ask('secure.example.org', 'A', 300);
    assert.equal(found.kind, 'failed', behaviour);
  }
  server.behaviour = 'answer';
  assert.equal((await new SecureDns({ address: '127.0.0.1', port: 1 }).ask('a.example', 'A', 300)).kind, 'failed');
});

test('answers with octets changed at random: an answer or a failure, never an exception, never without end', async () => {
  const random = randomFrom(Number(process.env['POSTERN_SEED'] ?? 1));
  let answer = Buffer.alloc(0);
  const odd = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (query: Buffer) => {
      const reply = Buffer.concat([
        query.subarray(2, 4),
        Buffer.of(0x81, 0xa0, 0, 1, 0, 1, 0, 0, 0, 0),
        query.subarray(14, query.length - 11),
        Buffer.of(0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 8, 0, 10, 3, 0x6d, 0x78, 0x31, 0xc0, 12),
      ]);
      for (let i = 0; i < 3; i++) reply[2 + random.below(reply.length - 2)] = random.below(256);
      answer = reply;
      const length = Buffer.alloc(2);
      length.writeUInt16BE(reply.length);
      socket.end(Buffer.concat([length, reply]));
    });
  }).listen(0, '127.0.0.1');
  await once(odd, 'listening');
  const { port } = odd.address() as AddressInfo;
  for (let i = 0; i < 300; i++) {
    const found = await new SecureDns({ address: '127.0.0.1', port }).ask('example.org', 'MX', 5000);
    assert.ok(['found', 'none', 'failed'].includes(found.kind), answer.toString('hex'));
  }
  odd.close();
});

test('a thousand questions may wait', async () => {
  const own = new SecureDns({ address: '127.0.0.1', port: server.port });
  server.behaviour = 'hang';
  const answers = await Promise.all(Array.from({ length: 1050 }, (_, i) => own.ask(`n${i}.example.org`, 'A', 500)));
  server.behaviour = 'answer';
  const reasons = answers.map((one) => (one.kind === 'failed' ? one.reason : ''));
  assert.equal(reasons.filter((reason) => reason === '1000 look-ups wait already').length, 50);
});
