/**
 * Egress "preserve" with a resolver: each recipient goes on only where its domain means the server that the host called,
 * by DANE, else by MTA-STS. That real servers, a signed zone and unbound agree is shown in test/interop.
 */
import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import type { Class } from '../../../src/policy/classes.ts';
import { SecureDns } from '../../../src/kit/secure-dns.ts';
import { Verifier } from '../../../src/relay/verifier.ts';
import { type Certificate, makeCertificate } from '../../fake/certificate.ts';
import { FakeDns, type Records } from '../../fake/dns.ts';
import { FakeRelay } from '../../fake/relay.ts';
import { type FakeUpstream, startFakeUpstream } from '../../fake/upstream.ts';
import { Client } from '../../kit/client.ts';
import { startGateway, type TestGateway, testConfig } from '../../kit/gateway.ts';
import type { Attempt } from '../../../src/record/events.ts';
import { testTls } from '../../kit/issuer.ts';
import { assertRecorded, type Told, told } from '../../kit/table.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-verified-'));
let certificate: Certificate;
before(() => {
  certificate = makeCertificate(directory, 'mx', 'DNS:mx.example.org');
});
after(() => rmSync(directory, { recursive: true }));

const { tls } = testTls();
const HERE = { A: ['203.0.113.25'] };
const POLICY = (mode: string, mx: string): string => `version: STSv1\nmode: ${mode}\nmx: ${mx}\nmax_age: 86400\n`;

let server: FakeUpstream;
let dns: FakeDns;
let gateway: TestGateway;
const servernames: (string | false | null)[] = [];
/** of all tests here, for the last */
const attempts: Attempt[] = [];
const refusals: Told[] = [];
afterEach(async () => {
  await gateway.close();
  await server.close();
  dns.close();
  attempts.push(...gateway.ledger.attempts);
});

const spki = (): string =>
  createHash('sha256')
    .update(new X509Certificate(certificate.cert).publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');

/** In place of SPKI in a record. */
function withDigest(records: Records): Records {
  return records.TLSA ? { ...records, TLSA: records.TLSA.map((one) => one.replace('SPKI', spki())) } : records;
}

type Given = {
  readonly zone?: Readonly<Record<string, Records>>;
  readonly policies?: Readonly<Record<string, string>>;
  readonly hasTls?: boolean;
  readonly failure?: 'defer' | 'ignore';
  readonly isTrusted?: boolean;
  readonly network?: string;
};

async function start({
  zone = {},
  policies = {},
  hasTls = true,
  failure = 'defer',
  isTrusted = true,
  network = '',
}: Given) {
  server = await startFakeUpstream({
    ...(hasTls && { tls: certificate }),
    onEvent: (event) => event.event === 'tls' && servernames.push(event.servername),
  });
  servernames.length = 0;
  dns = await new FakeDns({
    'example.org': { MX: ['mx.example.org'] },
    'mx.example.org': HERE,
    ...Object.fromEntries(Object.entries(zone).map(([name, records]) => [name, withDigest(records)])),
  }).start();
  const verifier = new Verifier({
    dns: new SecureDns({ address: '127.0.0.1', port: dns.port }),
    ca: Buffer.from(isTrusted ? certificate.cert : makeCertificate(directory, 'other', 'DNS:mx.example.org').cert),
    timeoutMs: 2000,
    failure,
    nowMs: Date.now,
    async fetch(domain) {
      const policy = policies[domain];
      if (policy === undefined) throw new Error('404');
      return policy;
    },
  });
  gateway = await startGateway({
    config: await testConfig(['127.0.0.1:2'], { network: `egress = "preserve"\n${network}` }),
    relay: new FakeRelay(),
    originalPort: server.port,
    tls,
    verifier,
  });
}

/** What the recipient's domain leads to, and how it was counted. */
async function recipient(to = 'b@example.org', hello = 'EHLO'): Promise<{ said: string; counted: string[] }> {
  const host = Client.over(gateway.connect());
  await host.reply();
  await host.ask(`${hello} host.example.org`);
  await host.ask('MAIL FROM:<a@example.net>');
  const said = await host.ask(`RCPT TO:<${to}>`);
  refusals.push(...told([said]));
  await host.ask('QUIT');
  return { said, counted: Object.keys(gateway.rooms.counts.takeVerified()) };
}

const dane = (tlsa: string): Record<string, Records> => ({
  'example.org': { MX: ['mx.example.org'], isSecure: true },
  'mx.example.org': { ...HERE, isSecure: true },
  '_25._tcp.mx.example.org': { TLSA: [tlsa], isSecure: true },
});
const sts = (): Record<string, Records> => ({ '_mta-sts.example.org': { TXT: ['v=STSv1; id=1'] } });

const CASES: Readonly<Record<string, Given & { readonly counted: string; readonly refused?: Class }>> = {
  'a TLSA record that matches, whoever has signed': {
    zone: dane('3 1 1 SPKI'),
    isTrusted: false,
    counted: 'tlsa success',
  },
  'a TLSA record that does not match': {
    zone: dane(`3 1 1 ${'00'.repeat(32)}`),
    counted: 'tlsa tlsa-invalid',
    refused: 'upstream.dane',
  },
  'a TLSA record, and no TLS': {
    zone: dane(`3 1 1 ${'00'.repeat(32)}`),
    hasTls: false,
    counted: 'tlsa starttls-not-supported',
    refused: 'upstream.dane',
  },
  'TLSA records that nobody can check: TLS is enough': {
    zone: dane('1 1 1 00'),
    counted: 'tlsa tlsa-unusable',
  },
  'a TLSA record that is not shown to be true': {
    zone: { ...dane('3 1 1 00'), '_25._tcp.mx.example.org': { TLSA: [`3 1 1 ${'00'.repeat(32)}`] } },
    counted: 'no-policy success',
  },
  'a forged TLSA record': {
    zone: { ...dane(''), '_25._tcp.mx.example.org': { isForged: true } },
    counted: 'unknown lookup-failed',
    refused: 'upstream.dns',
  },
  'a forged TLSA record, and lookup_failure = "ignore"': {
    zone: { ...dane(''), '_25._tcp.mx.example.org': { isForged: true } },
    failure: 'ignore',
    counted: 'unknown lookup-failed',
  },
  'MTA-STS, and a server as it is demanded': {
    zone: sts(),
    policies: { 'example.org': POLICY('enforce', '*.example.org') },
    counted: 'sts success',
  },
  'MTA-STS, and a certificate that nobody vouches for': {
    zone: sts(),
    policies: { 'example.org': POLICY('enforce', 'mx.example.org') },
    isTrusted: false,
    counted: 'sts certificate-not-trusted',
    refused: 'upstream.mta-sts',
  },
  'MTA-STS that names another server': {
    zone: sts(),
    policies: { 'example.org': POLICY('enforce', 'mx2.example.org') },
    counted: 'sts validation-failure',
    refused: 'upstream.mta-sts',
  },
  'MTA-STS, and no TLS': {
    zone: sts(),
    policies: { 'example.org': POLICY('enforce', 'mx.example.org') },
    hasTls: false,
    counted: 'sts starttls-not-supported',
    refused: 'upstream.mta-sts',
  },
  'MTA-STS in testing refuses nothing': {
    zone: sts(),
    policies: { 'example.org': POLICY('testing', 'mx2.example.org') },
    counted: 'sts-testing validation-failure',
  },
  'a policy that cannot be had refuses nothing': { zone: sts(), counted: 'sts-testing sts-policy-fetch-error' },
  'DANE goes before MTA-STS': {
    zone: { ...dane(`3 1 1 ${'00'.repeat(32)}`), ...sts() },
    policies: { 'example.org': POLICY('enforce', 'mx.example.org') },
    counted: 'tlsa tlsa-invalid',
    refused: 'upstream.dane',
  },
  'no policy, TLS': { counted: 'no-policy success' },
  'no policy, no TLS': { hasTls: false, counted: 'no-policy clear' },
  'a server that is none of the domain': {
    zone: { ...dane(`3 1 1 ${'00'.repeat(32)}`), 'mx.example.org': { A: ['203.0.113.99'], isSecure: true } },
    counted: 'elsewhere success',
  },
};

for (const [name, { counted, refused, ...given }] of Object.entries(CASES)) {
  test(`${name}: ${refused ? 'refused, and the server is not told of the recipient' : 'goes on'}`, async () => {
    await start(given);
    const { said, counted: now } = await recipient();
    assert.match(said, refused ? /^451 4\./ : /^250 /);
    if (refused) assert.ok(said.includes(`[${refused} id=`), said);
    assert.deepEqual(now, [counted]);
    assert.equal(
      server.commands.some(({ line }) => line.startsWith('RCPT')),
      refused === undefined,
    );
  });
}

describe('what is not about a domain, and what is recorded', () => {
  test('an address in brackets, a domain in capitals, and a resolver that hangs', async () => {
    await start({});
    assert.deepEqual((await recipient('b@[203.0.113.25]')).counted, ['no-policy success']);
    assert.deepEqual((await recipient('b@Example.ORG')).counted, ['no-policy success']);
    dns.behaviour = 'hang';
    const { said, counted } = await recipient('b@example.com');
    assert.match(said, /^451 4\.4\.3 /);
    assert.deepEqual(counted, ['unknown lookup-failed']);
  });

  test('the record says how the server was verified; the name it is known by is asked for, and shown to hosts without SNI', async () => {
    await start({ zone: dane('3 1 1 SPKI') });
    await recipient();
    const [row] = await gateway.ledger.recorded(1);
    assert.equal(row?.upstreamTls, 'TLSv1.3 dane');
    const host = await Client.connect(await gateway.listen());
    await host.reply();
    await host.ask('EHLO host.example.org');
    const secured = await host.startTls({ rejectUnauthorized: false });
    const shown = (secured.socket as TLSSocket).getPeerX509Certificate();
    assert.equal(shown?.checkHost('mx.example.org'), 'mx.example.org');
    await secured.ask('QUIT');
    assert.equal(servernames.at(-1), 'mx.example.org');
  });

  test('a host that says HELO: its mail goes on over TLS where the server has it, and is verified', async () => {
    await start({ zone: dane('3 1 1 SPKI') });
    const { said, counted } = await recipient('b@example.org', 'HELO');
    assert.match(said, /^250 /);
    assert.deepEqual(counted, ['tlsa success']);
    const lines = server.commands.map(({ line }) => line.split(' ')[0]);
    assert.deepEqual(lines.slice(0, 4), ['EHLO', 'STARTTLS', 'HELO', 'MAIL']);
  });
});

test('Shows 1: the classes of servers that are not what a domain means: reply, journal row, metric equal to the table', async () => {
  await start({});
  for (const name of ['upstream.dane', 'upstream.mta-sts', 'upstream.dns'] satisfies Class[])
    assert.ok(
      refusals.some((refusal) => refusal.class === name),
      name,
    );
  await assertRecorded(attempts, refusals);
});
