/**
 * Shows 3: random interleavings of segments around STARTTLS, on both legs, give the same transcript; and what is slipped in
 * between the 220 and the handshake is never taken for a word inside TLS.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect as connectTcp, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { dial } from '../../src/relay/dial.ts';
import { makeCertificate } from '../fake/certificate.ts';
import { EVERYTHING, FakeRelay } from '../fake/relay.ts';
import { type FakeUpstream, startFakeUpstream } from '../fake/upstream.ts';
import { Client } from '../kit/client.ts';
import { startGateway, type TestGateway, testConfig } from '../kit/gateway.ts';
import { testTls } from '../kit/issuer.ts';
import { type Random, randomFrom } from '../kit/random.ts';
import { count, seed } from '../kit/tier.ts';

const AT_ONCE = 20;

/** Passes on what comes, in pieces of any size, sometimes a turn of the loop later, in order. */
function cutting(from: Duplex, to: Duplex, random: Random): void {
  let last = Promise.resolve();
  from.on('data', (chunk: Buffer) => {
    last = last.then(async () => {
      for (let at = 0; at < chunk.length; ) {
        const end = Math.min(chunk.length, at + 1 + random.below(random.oneIn(4) ? 3 : 400));
        if (!to.destroyed) to.write(chunk.subarray(at, end));
        at = end;
        for (let turns = random.below(3); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
      }
    });
  });
  from.on('end', () => void last.then(() => to.end()));
  from.on('error', () => to.destroy());
  from.on('close', () => void last.then(() => to.destroy()));
}

async function sideBySide(times: number, one: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < times) await one(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

describe("the host's leg", () => {
  let gateway: TestGateway;
  let relay: FakeRelay;
  before(async () => {
    relay = new FakeRelay();
    relay.capabilities = { ...EVERYTHING, startTls: true };
    const network = 'max_connections = 1000';
    const config = await testConfig(['127.0.0.1:2'], { network });
    gateway = await startGateway({ config, relay, tls: testTls().tls });
  });
  after(() => gateway.close());

  /** A host whose octets, both ways, are cut anywhere. */
  function cutHost(random: Random): Duplex {
    const [near, far] = duplexPair();
    const host = gateway.connect();
    host.on('error', () => {});
    far.on('error', () => {});
    near.on('error', () => {});
    cutting(far, host, random);
    cutting(host, far, random);
    return near;
  }

  const CLEAR = ['EHLO a.example', 'MAIL FROM:<clear@a.example>', 'RCPT TO:<b@b.example>'];
  const INSIDE = ['EHLO a.example', 'STARTTLS', 'MAIL FROM:<a@a.example>', 'RCPT TO:<b@b.example>', 'DATA'];
  const BODY = 'From: a@a.example\r\nDate: Wed, 25 Nov 2026 09:00:00 +0000\r\n\r\n..x\r\n.\r\nQUIT\r\n';

  async function transcript(random: Random): Promise<string> {
    const clear = Client.over(cutHost(random));
    const said = [await clear.reply()];
    // The group is pipelined: what of it comes in which segment is for chance.
    clear.write(`${CLEAR[0]}\r\n`);
    said.push(await clear.reply());
    clear.write(`${CLEAR[1]}\r\n${CLEAR[2]}\r\n`);
    said.push(await clear.reply(), await clear.reply());
    const secure = await clear.startTls({ servername: 'mx.example.net' });
    for (const line of INSIDE) said.push(await secure.ask(line));
    secure.write(BODY);
    said.push(await secure.reply(), await secure.reply());
    secure.close();
    return said.join('\n').replaceAll(/id=\w+/g, 'id=*');
  }

  test(`Shows 3: ${count(100, 10_000)} interleavings give one transcript`, { timeout: 600_000 }, async () => {
    const expected = await transcript({ ...randomFrom(1), below: (n) => n - 1, oneIn: () => false });
    assert.match(expected, /^220 [^]*\n250[- ]STARTTLS\n250 [^]*\n503 [^]*\n354 [^]*\n250 2\.0\.0 taken\n221 /);
    await sideBySide(count(100, 10_000), async (n) => {
      assert.equal(await transcript(randomFrom(seed + n)), expected, `seed ${seed + n}`);
    });
    assert.equal(relay.open, 0, 'no transaction is left over');
  });

  test('what is slipped in behind STARTTLS is never run, wherever it is cut', { timeout: 600_000 }, async () => {
    const before = relay.messages.length;
    await sideBySide(count(100, 10_000), async (n) => {
      const client = Client.over(cutHost(randomFrom(seed + n)));
      await client.reply();
      await client.ask('EHLO a.example');
      client.write('STARTTLS\r\nMAIL FROM:<evil@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nx\r\n.\r\n');
      // 503, or 220 and then commands where a handshake is due: the end in both cases, and no word more.
      assert.match(await client.reply(), /^(503 5\.5\.1 .*tls\.pipelined|220 2\.0\.0 )/, `seed ${seed + n}`);
      await assert.rejects(client.reply(), { name: 'Gone' }, `seed ${seed + n}`);
      client.close();
    });
    assert.equal(relay.messages.length, before);
  });
});

describe('the far leg', () => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-far-tls-'));
  let fake: FakeUpstream;
  let proxy: Server;
  let connections = 0;
  before(async () => {
    fake = await startFakeUpstream({ tls: makeCertificate(directory, 'far', 'IP:127.0.0.1') });
    proxy = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
      const random = randomFrom(seed + connections++);
      const far = connectTcp({ port: fake.port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
      near.on('error', () => {});
      far.on('error', () => {});
      cutting(near, far, random);
      cutting(far, near, random);
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
  });
  after(async () => {
    proxy.close();
    await fake.close();
    rmSync(directory, { recursive: true });
  });

  const dialled = (): ReturnType<typeof dial> => {
    const { port } = proxy.address() as AddressInfo;
    const server = { host: '127.0.0.1', port, isAddress: true, text: `127.0.0.1:${port}` };
    const options = { name: 'gw1.example.net', ca: undefined, credentials: undefined, timeoutMs: 20_000 } as const;
    return dial(server, { ...options, tls: 'opportunistic' });
  };

  test(`Shows 3: ${count(60, 10_000)} interleavings give one transcript`, { timeout: 600_000 }, async () => {
    await sideBySide(count(60, 10_000), async () => {
      const of = await dialled();
      assert.ok(of.kind === 'connected', JSON.stringify(of));
      const { upstream } = of;
      assert.equal(upstream.tlsVersion, 'TLSv1.3');
      assert.equal(upstream.capabilities.dsn, true);
      const gone = new Promise<void>((resolve) => upstream.whenGone(resolve));
      upstream.quit();
      await gone;
    });
    const byConnection = Map.groupBy(fake.commands, ({ connection }) => connection);
    for (const commands of byConnection.values())
      assert.deepEqual(
        commands.map(({ line }) => line),
        ['EHLO gw1.example.net', 'STARTTLS', 'EHLO gw1.example.net', 'QUIT'],
      );
  });

  test('a reply that is slipped in behind the 220 is never believed, wherever it is cut', {
    timeout: 600_000,
  }, async () => {
    fake.misbehave = ({ stage }) =>
      stage === 'starttls' ? { extra: '250-evil\r\n250 AUTH PLAIN', isFirst: false } : undefined;
    await sideBySide(count(60, 10_000), async () => {
      const of = await dialled();
      assert.ok(of.kind === 'failure');
      assert.match(of.class, /^upstream\.(garbage|tls)$/);
    });
    fake.misbehave = undefined;
  });
});
