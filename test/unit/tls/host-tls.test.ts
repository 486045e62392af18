/** What hosts are shown: made for each name and kept, the operator's own, and what stays when a file goes bad. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, test } from 'node:test';
import { connect, type SecureContext, TLSSocket } from 'node:tls';
import { checkKeyPair, fileState } from '../../../src/config/outside.ts';
import { createReloader } from '../../../src/config/reload.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { HostTls } from '../../../src/tls/host-tls.ts';
import { makeCertificate } from '../../fake/certificate.ts';
import { testClock, type TestClock } from '../../kit/clock.ts';
import { makeIssuer } from '../../kit/issuer.ts';
import { type Logbook, logbook } from '../../kit/logbook.ts';

const MAX_CONTEXTS = 500;
const HALF_DAY_MS = 12 * 3_600_000;

let dir: string;
let clock: TestClock;
let log: Logbook;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'postern-host-tls-'));
  clock = testClock();
  log = logbook();
});
afterEach(() => rmSync(dir, { recursive: true }));

const issuerPath = (): string => join(dir, 'run/issuer.pem');
const open = (): HostTls => new HostTls({ issuerPath: issuerPath(), clock, log });

/** The certificate that a context shows. */
async function shown(secureContext: SecureContext): Promise<X509Certificate> {
  const [near, far] = duplexPair();
  const server = new TLSSocket(near, { isServer: true, secureContext });
  const client = connect({ socket: far, rejectUnauthorized: false });
  await once(client, 'secureConnect');
  const certificate = client.getPeerX509Certificate() as X509Certificate;
  client.destroy();
  server.destroy();
  return certificate;
}

const contextFor = (tls: HostTls, name: string): Promise<SecureContext | undefined> =>
  new Promise((resolve) => tls.contextFor(name, resolve));

test('new names are made one in a turn of the loop, in their order; known ones at once', async () => {
  makeIssuer(dir, issuerPath());
  const tls = open();
  const given: string[] = [];
  for (const name of ['a', 'b', 'c']) tls.contextFor(`${name}.example.net`, () => given.push(name));
  assert.equal(given.length, 0);
  for (let turn = 1; turn <= 3; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(given.length, turn);
    let isGiven = false;
    tls.contextFor('a.example.net', () => (isGiven = true));
    assert.ok(isGiven);
  }
  assert.deepEqual(given, ['a', 'b', 'c']);
  tls.contextFor('d.example.net', () => given.push('d'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(given.at(-1), 'd');
});

test('a name that no certificate can be made for takes nobody along: the next ones have their turn', async () => {
  // Nobody has made an issuer.
  const tls = open();
  const all = ['a.example', 'b.example', 'c.example'].map((name) => contextFor(tls, name));
  assert.deepEqual(await Promise.all(all), [undefined, undefined, undefined]);
  assert.equal(log.events().filter((event) => event === 'tls.not-issued').length, 3);
});

test('for a name, for an address, and nothing for what is no name of a host', async () => {
  makeIssuer(dir, issuerPath());
  const tls = open();
  assert.equal(
    (await shown((await contextFor(tls, 'MX.Example.net')) as SecureContext)).subjectAltName,
    'DNS:mx.example.net',
  );
  assert.equal((await shown(tls.contextOf('203.0.113.25'))).subjectAltName, 'IP Address:203.0.113.25');
  assert.match((await shown(tls.contextOf('2001:db8::25'))).subjectAltName ?? '', /^IP Address:2001:DB8:/);
  assert.ok(await contextFor(tls, '_25._tcp.example.net'));
  for (const none of [
    '',
    'localhost',
    '*.example.net',
    'a..b.example',
    'a b.example',
    `${'a'.repeat(64)}.example`,
    '-.',
  ])
    assert.equal(await contextFor(tls, none), undefined, none);
});

test('a context is kept while it is used, and never more than so many', () => {
  makeIssuer(dir, issuerPath());
  const tls = open();
  const first = tls.contextOf('a.example.net');
  const second = tls.contextOf('b.example.net');
  for (let n = 0; n < MAX_CONTEXTS - 2; n++) tls.contextOf(`n${n}.example.net`);
  assert.equal(tls.contextOf('a.example.net'), first);
  tls.contextOf('one-more.example.net');
  assert.equal(tls.contextOf('a.example.net'), first, 'it was used last');
  assert.notEqual(tls.contextOf('b.example.net'), second, 'it was used longest ago');
});

test('the keys of tickets change twice a day, and the contexts with them', () => {
  makeIssuer(dir, issuerPath());
  const tls = open();
  const before = tls.contextOf('a.example.net');
  clock.forward(HALF_DAY_MS);
  assert.notEqual(tls.contextOf('a.example.net'), before);
});

test('another issuer is taken when it is there; a damaged one is said, and the one before holds', async () => {
  const tls = open();
  assert.equal(tls.isReady, false, 'there is none yet');
  const authority = makeIssuer(dir, issuerPath());
  tls.refresh();
  assert.equal(tls.isReady, true);
  const issuerOf = async (): Promise<string> => (await shown(tls.contextOf('a.example.net'))).issuer;
  const first = await issuerOf();
  authority.rotate('tester');
  tls.refresh();
  const second = await issuerOf();
  assert.notEqual(second, first);
  writeFileSync(issuerPath(), 'nonsense');
  tls.refresh();
  tls.refresh();
  assert.equal(await issuerOf(), second);
  assert.deepEqual(log.events(), ['tls.issuer-not-read'], 'once');
  rmSync(issuerPath());
  tls.refresh();
  assert.equal(await issuerOf(), second);
});

test("the operator's certificate is shown to everybody", async () => {
  const { certPath } = makeCertificate(dir, 'own', 'DNS:gw1.example.net');
  const tls = new HostTls(
    { issuerPath: issuerPath(), clock, log },
    { certificate: certPath, key: join(dir, 'own.key') },
  );
  assert.equal(tls.isReady, true, 'without any issuer');
  assert.equal((await shown(tls.contextOf('203.0.113.25'))).subjectAltName, 'DNS:gw1.example.net');
  assert.equal(await contextFor(tls, 'mx.example.net'), undefined);
  assert.ok((tls.endsMs ?? 0) > Date.now());
});

test('Shows 4: at run time a bad certificate changes nothing: the old one kept, said and counted', async () => {
  const { certPath } = makeCertificate(dir, 'own', 'DNS:gw1.example.net');
  makeCertificate(dir, 'next', 'DNS:gw2.example.net');
  const pair = { certificate: certPath, key: join(dir, 'own.key') };
  const tls = new HostTls({ issuerPath: issuerPath(), clock, log }, pair);
  const now = tls.contextOf('x');
  for (const bad of [
    { ...pair, certificate: join(dir, 'none.pem') },
    { ...pair, key: join(dir, 'next.key') },
    { certificate: join(dir, 'own.key'), key: join(dir, 'own.key') },
  ]) {
    tls.configure(bad);
    assert.equal(tls.contextOf('x'), now);
  }
  assert.deepEqual([tls.kept, log.events()], [3, Array(3).fill('tls.certificate-kept')]);
  tls.configure({ certificate: join(dir, 'next.pem'), key: join(dir, 'next.key') });
  assert.equal((await shown(tls.contextOf('x'))).subjectAltName, 'DNS:gw2.example.net');
  makeIssuer(dir, issuerPath());
  tls.refresh();
  tls.configure(undefined);
  assert.equal((await shown(tls.contextOf('203.0.113.25'))).subjectAltName, 'IP Address:203.0.113.25');
});

const text = (certificate: string, key: string): string => `[gateway]
name = "gw1.example.net"
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["192.0.2.25:587"]
[tls]
certificate = "${certificate}"
key = "${key}"
[[network]]
name = "customers"
prefixes = ["198.51.100.0/24"]
`;

test('Shows 4: an expired or unreadable certificate at the start is an error with file, line and value', async () => {
  const { certPath } = makeCertificate(dir, 'own', 'DNS:gw1.example.net');
  makeCertificate(dir, 'next', 'DNS:gw2.example.net');
  const key = join(dir, 'own.key');
  const path = join(dir, 'postern.toml');
  const TWO_DAYS_MS = 2 * 86_400_000;
  const said = async (certificate: string, of: string, nowMs?: number): Promise<string> => {
    writeFileSync(path, text(certificate, of));
    const keyPair = (a: string, b: string) => checkKeyPair(a, b, nowMs);
    const loaded = await loadConfig(path, { file: fileState, keyPair });
    return loaded.ok ? '' : loaded.errors.map(({ message }) => message.slice(path.length)).join('\n');
  };
  chmodSync(key, 0o600);
  assert.equal(await said(certPath, key, Date.now()), '');
  const ended = await said(certPath, key, Date.now() + TWO_DAYS_MS);
  assert.match(ended, /^:8: tls\.certificate = ".*own\.pem": expected a certificate that is valid now; it ended on 20/);
  const early = await said(certPath, key, Date.now() - TWO_DAYS_MS);
  assert.match(early, /^:8: tls\.certificate = .*: expected a certificate that is valid now; it begins on 20/);
  assert.equal(await said(certPath, key), '', 'a worker that has to start goes on with one that has ended');
  assert.match(
    await said(join(dir, 'none.pem'), key),
    /^:8: .*: expected a file that can be read: there is no such file$/,
  );
  assert.match(await said(key, key), /^:8: .*: expected a file with a certificate in PEM, its chain behind it$/);
  assert.match(
    await said(certPath, certPath),
    /^:9: tls\.key = .*: expected no permission for others; its mode is 0644/,
  );
  chmodSync(join(dir, 'next.key'), 0o600);
  assert.match(
    await said(certPath, join(dir, 'next.key')),
    /^:9: .*: expected the key of tls\.certificate; it belongs to/,
  );
  const broken = join(dir, 'broken.key');
  writeFileSync(broken, 'nonsense', { mode: 0o600 });
  assert.match(
    await said(certPath, broken),
    /^:9: .*: expected a file with a private key in PEM, without a passphrase$/,
  );
});

test('Shows 4: a reload that finds it changes nothing at all', async () => {
  const { certPath } = makeCertificate(dir, 'own', 'DNS:gw1.example.net');
  const key = join(dir, 'own.key');
  chmodSync(key, 0o600);
  const path = join(dir, 'postern.toml');
  writeFileSync(path, text(certPath, key));
  const outside = { file: fileState, keyPair: (a: string, b: string) => checkKeyPair(a, b) };
  const loaded = await loadConfig(path, outside);
  assert.ok(loaded.ok);
  let applied = 0;
  const reload = createReloader(path, loaded.config, log, () => void applied++, outside);
  await reload();
  assert.equal(applied, 1);
  writeFileSync(certPath, 'nonsense');
  await reload();
  assert.deepEqual([applied, reload.errors], [1, 1]);
  assert.ok(log.events().includes('config.kept'));
});
