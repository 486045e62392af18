/** The authority and what it hands to the workers, over restarts, damage and clocks that jump. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Authority } from '../../../src/tls/authority.ts';
import { parseIssuer } from '../../../src/tls/issuer-file.ts';
import { testClock, type TestClock } from '../../kit/clock.ts';
import { type Logbook, logbook } from '../../kit/logbook.ts';

const DAY_MS = 86_400_000;

let dir: string;
let clock: TestClock;
let log: Logbook;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'postern-ca-'));
  clock = testClock();
  log = logbook();
});
afterEach(() => rmSync(dir, { recursive: true }));

const path = (): string => join(dir, 'ca.pem');
const issuerPath = (): string => join(dir, 'run/issuer.pem');
const open = (): Authority =>
  new Authority({ path: path(), issuerPath: issuerPath(), gatewayName: 'gw1.example.net', clock, log });
const issuerOf = (): X509Certificate => new X509Certificate(readFileSync(issuerPath()));

test('made at the first start, readable by nobody else, and the same after a restart', () => {
  const made = open().certificatePem as string;
  assert.equal(statSync(path()).mode & 0o777, 0o600);
  assert.equal(statSync(issuerPath()).mode & 0o777, 0o640);
  const issuer = readFileSync(issuerPath(), 'utf8');
  assert.equal(open().certificatePem, made);
  assert.equal(readFileSync(issuerPath(), 'utf8'), issuer, 'workers go on with what they have');
  assert.doesNotMatch(made, /PRIVATE/);
  assert.ok(issuerOf().checkIssued(new X509Certificate(made)));
  assert.deepEqual(log.events(), ['ca.made']);
});

test('the key of the authority is not among what workers can read', () => {
  open();
  const [, key = ''] = /PRIVATE KEY-----\n([^-]+)/.exec(readFileSync(path(), 'utf8')) ?? [];
  assert.ok(key.length > 100);
  assert.ok(!readFileSync(issuerPath(), 'utf8').includes(key.slice(0, 60)));
});

test('the issuer is replaced after 15 of its 30 days, and after a restart of the machine', () => {
  const authority = open();
  const first = issuerOf();
  clock.forward(14 * DAY_MS);
  authority.tend();
  assert.equal(issuerOf().serialNumber, first.serialNumber);
  clock.forward(2 * DAY_MS);
  authority.tend();
  assert.notEqual(issuerOf().serialNumber, first.serialNumber);
  assert.equal(authority.endsMs.issuer, issuerOf().validToDate.getTime());
  rmSync(join(dir, 'run'), { recursive: true });
  open();
  assert.ok(existsSync(issuerPath()));
});

test('a clock that is off by a year, and then put right, leaves hosts with certificates that hold', () => {
  const authority = open();
  const pem = authority.certificatePem;
  for (const jump of [365 * DAY_MS, -365 * DAY_MS, -365 * DAY_MS, 365 * DAY_MS]) {
    clock.forward(jump);
    authority.tend();
    const { validFromDate: from, validToDate: to } = issuerOf();
    assert.ok(from.getTime() <= clock.nowMs() && clock.nowMs() < to.getTime(), 'valid by our own clock');
    if (clock.nowMs() > Date.now() + DAY_MS)
      assert.ok(from.getTime() <= Date.now(), 'and while ours is ahead, by that of a host as well');
  }
  assert.equal(authority.certificatePem, pem, 'the authority itself is never replaced for it');
});

test('an authority that is not valid by the clock is kept and complained of, once', () => {
  const authority = open();
  clock.forward(11 * 365 * DAY_MS);
  authority.tend();
  authority.tend();
  const complaints = log.entries.filter(({ event }) => event === 'ca.problem');
  assert.equal(complaints.length, 1);
  assert.match(String(complaints[0]?.fields['problem']), /the clock is wrong, or: postern ca --rotate/);
});

test('rotated: another authority, another issuer, and it stays so', () => {
  const authority = open();
  const before = authority.certificatePem;
  const after = authority.rotate('tester');
  assert.notEqual(after, before);
  assert.ok(issuerOf().checkIssued(new X509Certificate(after)));
  assert.equal(open().certificatePem, after);
  assert.notEqual(new X509Certificate(after).subject, new X509Certificate(before as string).subject);
});

test('a damaged file is kept under another name, and another authority is made', () => {
  open();
  for (const text of ['', 'nonsense', readFileSync(path(), 'utf8').replace(/-----BEGIN PRIVATE[^]*/, '')]) {
    writeFileSync(path(), text);
    assert.ok(open().certificatePem);
    clock.forward(1);
  }
  assert.equal(readdirSync(dir).filter((name) => name.startsWith('ca.pem.damaged-')).length, 3);
  assert.equal(log.events().filter((event) => event === 'ca.damaged').length, 3);
});

test('where it cannot be kept there is none, which is said; it is made as soon as it can be', () => {
  writeFileSync(join(dir, 'file'), '');
  const problem = new Authority({
    path: join(dir, 'file/ca.pem'),
    issuerPath: issuerPath(),
    gatewayName: 'gw1.example.net',
    clock,
    log,
  });
  assert.equal(problem.certificatePem, undefined);
  assert.deepEqual(problem.endsMs, { authority: undefined, issuer: undefined });
  assert.deepEqual(log.events(), ['ca.problem']);
  rmSync(join(dir, 'file'));
  const late = join(dir, 'file');
  problem.tend();
  assert.equal(existsSync(late), false);
});

test('a file for the workers whose parts do not belong together is none', () => {
  open();
  const one = readFileSync(issuerPath(), 'utf8');
  rmSync(issuerPath());
  open();
  const other = readFileSync(issuerPath(), 'utf8');
  const [certificate = ''] = /-----BEGIN CERTIFICATE[^]*?END CERTIFICATE-----\n/.exec(one) ?? [];
  assert.equal(parseIssuer(one).ticketSecret.length, 32);
  assert.throws(() => parseIssuer(other.replace(/-----BEGIN CERTIFICATE[^]*?END CERTIFICATE-----\n/, certificate)));
  assert.throws(() => parseIssuer(other.replace(/-----BEGIN POSTERN[^]*/, '')));
});
