/** Certificates of our own, as openssl and Node read them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type CertificateFacts, commonNameOf, issueCertificate, newKey, toPem } from '../../../src/kit/x509.ts';

const dir = mkdtempSync(join(tmpdir(), 'postern-x509-'));
after(() => rmSync(dir, { recursive: true }));

const [rootKey, issuerKey, serverKey] = [newKey(), newKey(), newKey()];
const DAY_MS = 86_400_000;
const span = { notBeforeMs: Date.now() - DAY_MS, notAfterMs: Date.now() + DAY_MS };
const root = { name: 'Root', key: rootKey };
const issuer = { name: 'Issuer', key: issuerKey };

function make(change: Partial<CertificateFacts>, signer = issuer): X509Certificate {
  const publicKey = createPublicKey(serverKey);
  return new X509Certificate(issueCertificate({ name: '', publicKey, kind: 'server', ...span, ...change }, signer));
}

const rootCertificate = make({ name: 'Root', kind: 'root', publicKey: createPublicKey(rootKey) }, root);
const issuerCertificate = make({ name: 'Issuer', kind: 'issuer', publicKey: createPublicKey(issuerKey) }, root);

/** What `openssl verify` says of a server's certificate below our two. */
function verify(certificate: X509Certificate, ...options: string[]): string {
  const paths = [rootCertificate, issuerCertificate, certificate].map((one, n) => {
    const path = join(dir, `${n}.pem`);
    writeFileSync(path, toPem(one.raw));
    return path;
  });
  const [top = '', middle = '', server = ''] = paths;
  const args = ['verify', '-x509_strict', '-purpose', 'sslserver', ...options, '-CAfile', top, '-untrusted', middle];
  const { stdout, stderr } = spawnSync('openssl', [...args, server], { encoding: 'utf8', timeout: 120_000 });
  return stdout + stderr;
}

test('openssl verifies a chain of root, issuer and server, strictly, for its names and for no other', () => {
  const names = ['mx.example.net', '203.0.113.25', '2001:db8::25'];
  for (const name of ['mx.example.net', '']) {
    const server = make({ name, names });
    assert.match(verify(server), /: OK$/m);
    assert.match(verify(server, '-verify_hostname', 'mx.example.net'), /: OK$/m);
    assert.match(verify(server, '-verify_ip', '203.0.113.25'), /: OK$/m);
    assert.match(verify(server, '-verify_ip', '2001:db8::25'), /: OK$/m);
    assert.match(verify(server, '-verify_hostname', 'mx.example.org'), /hostname mismatch/i);
    assert.match(verify(server, '-verify_ip', '203.0.113.26'), /IP address mismatch/i);
  }
});

test('an issuer makes no further authority, and a server none at all', () => {
  const below = make({ name: 'Below', kind: 'issuer', publicKey: createPublicKey(serverKey) });
  assert.equal(below.ca, true);
  assert.match(verify(below), /path length constraint exceeded|invalid CA certificate|unsuitable certificate purpose/);
  assert.equal(make({ names: ['a.example'] }).ca, false);
});

test('dates before and after 2050 are read as they were meant', () => {
  for (const at of ['2026-11-25T09:00:00Z', '2049-12-31T23:59:59Z', '2050-01-01T00:00:00Z', '2061-02-03T04:05:06Z'])
    assert.equal(make({ notAfterMs: Date.parse(at) }).validToDate.toISOString(), new Date(at).toISOString());
});

test('a name that is too long for a common name stands among the names alone', () => {
  const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.example.net`;
  assert.equal(commonNameOf(long), '');
  assert.match(verify(make({ name: commonNameOf(long), names: [long] }), '-verify_hostname', long), /: OK$/m);
});

test('serial numbers differ, and the signature is of the signer and of nobody else', () => {
  const [one, other] = [make({}), make({})];
  assert.notEqual(one.serialNumber, other.serialNumber);
  assert.equal(one.verify(createPublicKey(issuerKey)), true);
  assert.equal(one.verify(createPublicKey(rootKey)), false);
});
