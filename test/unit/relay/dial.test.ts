/** STARTTLS, certificates, AUTH. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeCertificate } from '../../fake/certificate.ts';
import type { FakeOptions } from '../../fake/upstream.ts';
import { deliver, fakeFor, relayFor, said, type Settings } from './setup.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-dial-'));
after(() => rmSync(directory, { recursive: true }));
const good = makeCertificate(directory, 'good', 'IP:127.0.0.1', 'DNS:localhost');
const otherName = makeCertificate(directory, 'other', 'DNS:other.example.net');
const unknown = makeCertificate(directory, 'unknown', 'IP:127.0.0.1');

const VERIFY = { tls: 'verify', caFile: good.certPath } as const;
const SECRET = 'canary-pässword-4711';
const passwordFile = join(directory, 'password');
writeFileSync(passwordFile, `${SECRET}\n`);
const CREDENTIALS = { username: 'gw1', passwordFile };
const auth = { username: 'gw1', password: SECRET };

test('verify: over TLS, with a second EHLO, and what was offered in clear does not count', async (t) => {
  const fake = await fakeFor(t, { tls: good });
  const { relay } = relayFor(t, [fake.endpoint], VERIFY);
  fake.misbehave = ({ stage }) => {
    // Offered before TLS only.
    if (stage === 'starttls') fake.capabilities = ['PIPELINING', '8BITMIME'];
    return undefined;
  };
  const { final } = await deliver(relay);
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
  assert.equal(fake.messages[0]?.isEncrypted, true);
  assert.equal(relay.offers()?.dsn, false);
  assert.equal(relay.offers()?.eightBitMime, true);
  assert.equal(relay.offers()?.startTls, true, 'it has it');
  assert.deepEqual(
    fake.commands.slice(0, 3).map(({ line }) => line),
    ['EHLO gw1.example.net', 'STARTTLS', 'EHLO gw1.example.net'],
  );
});

test('verify with a name: it is sent as SNI and checked', async (t) => {
  const names: unknown[] = [];
  const fake = await fakeFor(t, {
    tls: good,
    onEvent: (event) => event.event === 'tls' && names.push(event.servername),
  });
  const { relay } = relayFor(t, [`localhost:${fake.port}`], VERIFY);
  const { final } = await deliver(relay);
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
  assert.deepEqual(names, ['localhost']);
});

const REFUSED: Readonly<Record<string, { fake: FakeOptions; settings: Settings; says: RegExp }>> = {
  'the wrong name': {
    fake: { tls: otherName },
    settings: { tls: 'verify', caFile: otherName.certPath },
    says: /^upstream\.tls: .*does not match certificate/,
  },
  'an unknown authority': {
    fake: { tls: unknown },
    settings: VERIFY,
    says: /^upstream\.tls: .*self-signed certificate/,
  },
  'the system has no such authority': { fake: { tls: good }, settings: { tls: 'verify' }, says: /^upstream\.tls: / },
  'no STARTTLS': { fake: {}, settings: VERIFY, says: /^upstream\.tls: .*offers no STARTTLS/ },
  'HELO only': { fake: { tls: good, isOld: true }, settings: VERIFY, says: /^upstream\.tls: .*offers no STARTTLS/ },
  'STARTTLS refused': {
    fake: { tls: good, misbehave: ({ stage }) => (stage === 'starttls' ? { reply: '454 4.7.0 not now' } : undefined) },
    settings: VERIFY,
    says: /^upstream\.tls: .*STARTTLS: 454 4\.7\.0 not now/,
  },
  'STARTTLS refused, opportunistic': {
    fake: { tls: good, misbehave: ({ stage }) => (stage === 'starttls' ? { reply: '454 4.7.0 not now' } : undefined) },
    settings: { tls: 'opportunistic' },
    says: /^upstream\.tls: .*STARTTLS: 454 4\.7\.0 not now/,
  },
  'a reply in clear behind the 220': {
    fake: { tls: good, misbehave: ({ stage }) => (stage === 'starttls' ? 'extra' : undefined) },
    settings: VERIFY,
    says: /^upstream\.down: .*STARTTLS: a reply nobody asked for: 250 2\.0\.0 extra/,
  },
  'half a reply in clear behind the 220': {
    fake: {
      tls: good,
      misbehave: ({ stage }) => (stage === 'starttls' ? { extra: '250-in', isFirst: false } : undefined),
    },
    settings: VERIFY,
    says: /^upstream\.down: .*STARTTLS: a reply nobody asked for/,
  },
  '220 and no TLS': {
    fake: { tls: good, misbehave: ({ stage }) => (stage === 'starttls' ? 'hang' : undefined) },
    settings: { ...VERIFY, connectTimeout: 200 },
    says: /^upstream\.down: .*not ready within 200 ms/,
  },
  'an unreadable ca_file': {
    fake: { tls: good },
    settings: { tls: 'verify', caFile: '/nonexistent/ca.pem' },
    says: /^upstream\.tls: .*smarthost\.ca_file cannot be read/,
  },
  'a wrong password': {
    fake: { tls: good, auth: { ...auth, password: 'other' } },
    settings: { ...VERIFY, ...CREDENTIALS },
    says: /^upstream\.auth: .*AUTH PLAIN was answered with 535$/,
  },
  'no AUTH offered': {
    fake: { tls: good },
    settings: { ...VERIFY, ...CREDENTIALS },
    says: /^upstream\.auth: .*offers neither AUTH PLAIN nor LOGIN/,
  },
  'a mechanism we do not have': {
    fake: { tls: good, auth: { ...auth, mechanisms: 'XOAUTH2 CRAM-MD5' } },
    settings: { ...VERIFY, ...CREDENTIALS },
    says: /^upstream\.auth: .*offers neither AUTH PLAIN nor LOGIN/,
  },
  'a password over TLS that is not verified': {
    fake: { tls: unknown, auth },
    settings: { tls: 'opportunistic', ...CREDENTIALS },
    says: /^upstream\.auth: .*verified TLS only/,
  },
  'a password in clear': {
    fake: { auth },
    settings: { tls: 'none', ...CREDENTIALS },
    says: /^upstream\.auth: .*verified TLS only/,
  },
  'an unreadable password_file': {
    fake: { tls: good, auth },
    settings: { ...VERIFY, ...CREDENTIALS, passwordFile: '/nonexistent/password' },
    says: /^upstream\.auth: .*smarthost\.password_file cannot be read/,
  },
  'a 421 to AUTH that repeats the password': {
    fake: {
      tls: good,
      auth,
      misbehave: ({ stage }) => (stage === 'auth' ? { reply: `421 4.7.0 not with ${SECRET}` } : undefined),
    },
    settings: { ...VERIFY, ...CREDENTIALS },
    says: /^upstream\.down: .*the connection failed during AUTH PLAIN/,
  },
};

for (const [name, { fake: options, settings, says }] of Object.entries(REFUSED)) {
  test(`refused: ${name}; nothing goes out, and no password is logged`, async (t) => {
    const fake = await fakeFor(t, options);
    const { relay, logged } = relayFor(t, [fake.endpoint], settings);
    await relay.start();
    const { recipients } = await deliver(relay);
    assert.match(recipients.map(said).join(), says);
    assert.equal(fake.messages.length, 0);
    assert.ok(!fake.commands.some(({ line }) => line.startsWith('MAIL')));
    const everything = JSON.stringify([logged, relay.servers(), recipients.map(said)]);
    for (const secret of [
      SECRET,
      Buffer.from(SECRET).toString('base64'),
      Buffer.from(`\0gw1\0${SECRET}`).toString('base64'),
    ]) {
      assert.ok(!everything.includes(secret), everything);
    }
  });
}

for (const mechanisms of ['PLAIN LOGIN', 'LOGIN', 'CRAM-MD5 PLAIN']) {
  test(`AUTH where ${mechanisms} is offered`, async (t) => {
    const fake = await fakeFor(t, { tls: good, auth: { ...auth, mechanisms } });
    const { relay, logged } = relayFor(t, [fake.endpoint], { ...VERIFY, ...CREDENTIALS });
    const { final } = await deliver(relay);
    assert.equal(final && said(final), '250 2.0.0 taken as 1');
    assert.equal(fake.messages[0]?.user, 'gw1');
    assert.ok(!JSON.stringify(logged).includes(SECRET));
    const wanted = mechanisms === 'LOGIN' ? 'AUTH LOGIN' : 'AUTH PLAIN ';
    assert.ok(fake.commands.some(({ line }) => line.startsWith(wanted)));
  });
}

test('opportunistic: TLS where it is offered, whatever the certificate; in clear where it is not', async (t) => {
  const secure = await fakeFor(t, { tls: unknown });
  const clear = await fakeFor(t);
  for (const fake of [secure, clear]) {
    const { relay } = relayFor(t, [fake.endpoint], { tls: 'opportunistic' });
    const { final } = await deliver(relay);
    assert.equal(final && said(final), '250 2.0.0 taken as 1');
    assert.equal(fake.messages[0]?.isEncrypted, fake === secure);
  }
});

test('none: STARTTLS is not used where it is offered', async (t) => {
  const fake = await fakeFor(t, { tls: good });
  const { relay } = relayFor(t, [fake.endpoint], { tls: 'none' });
  await deliver(relay);
  assert.equal(fake.messages[0]?.isEncrypted, false);
});

test('a large message over TLS arrives to the byte', async (t) => {
  const fake = await fakeFor(t, { tls: good });
  const { relay } = relayFor(t, [fake.endpoint], VERIFY);
  const bytes = Buffer.alloc(5_000_000, 'seven 7\r\n');
  bytes.write('\r\n', bytes.length - 2);
  const { final } = await deliver(relay, ['b'], bytes);
  assert.equal(final && said(final), '250 2.0.0 taken as 1');
  assert.equal(Buffer.compare(fake.messages[0]!.body.subarray(-bytes.length), bytes), 0);
});
