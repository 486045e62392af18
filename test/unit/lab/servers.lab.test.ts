import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Reached, startDirect } from '../../../src/lab/direct.ts';
import { createNetwork, type LabNetwork, PLACES } from '../../../src/lab/network.ts';
import type { Reporter } from '../../../src/lab/reporter.ts';
import { type Mail, withLibrary, withSwaks } from '../../../src/lab/send.ts';
import { type Smarthost, startSmarthost, UNKNOWN } from '../../../src/lab/smarthost.ts';
import { needsRoot } from '../../kit/tier.ts';

let network: LabNetwork;
let destroy: (() => Promise<void>) | undefined;
let smarthost: Smarthost;
let direct: Reporter<Reached>;
const directory = mkdtempSync(join(tmpdir(), 'postern-test-'));
// Registered first, so that a failing `before` is cleaned up as well.
after(async () => {
  await destroy?.();
  rmSync(directory, { recursive: true });
});
before(async () => {
  if (needsRoot) return;
  network = await createNetwork();
  destroy = network.destroy;
  smarthost = await startSmarthost(network.internet, { directory });
  direct = await startDirect(network.internet);
});

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const HEADER = 'From: a@customer.example\r\nSubject: s\r\n';
const BODY = Buffer.from('one\r\n..two dots\r\n.\tone dot\r\n\r\nÄ\r\n');

function mail(subject: string, change: Partial<Mail> = {}): Mail {
  return {
    ...{ server: PLACES.smarthost.v4, port: 587, source: PLACES.hosts[0].v4, helo: 'h10.customer.example' },
    ...{ from: 'a@customer.example', to: ['b@example.org'], is8bit: true },
    message: Buffer.concat([Buffer.from(`${HEADER.replace('Subject: s', `Subject: ${subject}`)}\r\n`), BODY]),
    ...change,
  };
}
const arrived = (subject: string) => smarthost.waitFor((line) => line.subject === subject, 5000);

for (const [name, send] of [
  ['swaks', withSwaks],
  ['the library', withLibrary],
] as const) {
  test(`${name} sends bytes that the smarthost records as they were`, { skip: needsRoot }, async () => {
    const sent = mail(`${name} v4`, { to: ['b@example.org', 'c@example.org'] });
    const saw = await send(network.inside, sent);
    assert.deepEqual(saw, { reply: '250 2.6.0 Recorded by the lab', failure: undefined });
    const seen = await arrived(`${name} v4`);
    assert.equal(seen?.bodySha256, sha256(BODY));
    assert.equal(seen.sentSha256, sha256(sent.message));
    assert.deepEqual(
      [seen.from, seen.to, seen.receivedByUs, seen.tls, seen.remote],
      ['a@customer.example', ['b@example.org', 'c@example.org'], false, false, PLACES.hosts[0].v4],
    );
  });

  test(`${name} sends over IPv6, with the null sender`, { skip: needsRoot }, async () => {
    const v6 = { server: PLACES.smarthost.v6, source: PLACES.hosts[1].v6, from: '' };
    const saw = await send(network.inside, mail(`${name} v6`, v6));
    assert.match(saw.reply, /^250 /);
    const seen = await arrived(`${name} v6`);
    assert.deepEqual([seen?.from, seen?.remote], ['', PLACES.hosts[1].v6]);
  });

  test(`${name} says what it saw: a refusal, a closed port`, { skip: needsRoot }, async () => {
    const refused = await send(network.inside, mail('refused', { to: [`${UNKNOWN}@example.org`] }));
    assert.match(refused.reply, /^550 .*No such user here$/, JSON.stringify(refused));
    const closed = await send(network.inside, mail('closed', { port: 2 }));
    assert.deepEqual(closed, { reply: '', failure: 'Connection refused' });
  });

  test(`${name} reaches the direct server, which reports the connection and the mail`, {
    skip: needsRoot,
  }, async () => {
    const saw = await send(network.inside, mail(`${name} direct`, { server: PLACES.direct.v4, port: 25 }));
    assert.match(saw.reply, /^250 2\.0\.0 Taken by mx\.example\.org directly/);
    const message = await direct.waitFor((line) => line.subject === `${name} direct`, 5000);
    assert.deepEqual([message?.from, message?.to, message?.port], [PLACES.hosts[0].v4, PLACES.direct.v4, 25]);
  });
}

test("the gateway's Received is known by its name, and what is below it is hashed", { skip: needsRoot }, async () => {
  const original = mail('relayed').message;
  for (const [by, isOurs] of [
    ['gw1.example.net', true],
    ['gw2.example.net', false],
  ] as const) {
    const received = `Received: from h10 ([198.51.100.10])\r\n\tby ${by} with ESMTP id 1;\r\n now\r\n`;
    const subject = `relayed ${by}`;
    const below = Buffer.from(original.toString().replace('relayed', subject));
    await withLibrary(network.inside, mail(subject, { message: Buffer.concat([Buffer.from(received), below]) }));
    const seen = await arrived(subject);
    assert.equal(seen?.receivedByUs, isOurs);
    assert.equal(seen.sentSha256 === sha256(below), isOurs);
  }
});

test('the smarthost stops and starts again; its certificate verifies by address', { skip: needsRoot }, async () => {
  const verify = (): ReturnType<LabNetwork['inside']['run']> =>
    network.inside.run('openssl', [
      ...['s_client', '-starttls', 'smtp', '-connect', `${PLACES.smarthost.v4}:587`, '-CAfile', smarthost.caFile],
      ...['-verify_ip', PLACES.smarthost.v4, '-verify_return_error', '-brief'],
    ]);
  assert.match((await verify()).stderr, /Verification: OK/);
  await smarthost.stop();
  assert.notEqual((await verify()).code, 0);
  const before = smarthost.lines.length;
  await smarthost.start();
  assert.match((await verify()).stderr, /Verification: OK/);
  assert.equal(smarthost.lines.length, before);
});
