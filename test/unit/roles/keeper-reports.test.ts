/** From a refused message to the report that the smarthost takes: worker, keeper and worker again. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { parseConfig } from '../../../src/config/load.ts';
import { sendOwn } from '../../../src/gateway/own-mail.ts';
import type { Clock } from '../../../src/kit/clock.ts';
import { bookOf } from '../../../src/roles/keeper-reports.ts';
import { FakeRelay } from '../../fake/relay.ts';
import { hear } from '../../fuzz/hear.ts';
import { readReport } from '../../kit/arf.ts';
import { startGateway, type TestGateway, testConfig } from '../../kit/gateway.ts';
import { makePlace, type Stage, stageKeeper } from '../../kit/keeper.ts';
import { until } from '../../kit/wait.ts';
import { attempt } from '../ledger/sample.ts';

const HOUR_MS = 3_600_000;
const REPORTS = 'from = "postern@example.net"\ncontact = "abuse@example.com"\n';
const GTUBE = ['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'].join('');
const SPAM = `From: a@a.example\r\nDate: x\r\nSubject: caf\xe9\r\n\r\n.a line with a dot\r\n${GTUBE}\r\n`;

/** A gateway with a keeper of its own, in front of a smarthost that takes everything. */
async function stage(
  t: TestContext,
  reports = REPORTS,
  network = '',
): Promise<{
  s: Stage;
  relay: FakeRelay;
  gateway: TestGateway;
  send: (text: string) => Promise<void>;
  clock: Clock & { forward: (ms: number) => void };
}> {
  const config = await testConfig(['127.0.0.1:587'], { reports, network });
  // In the middle of an hour: what is sent here falls into one.
  let ahead = Math.ceil(Date.now() / HOUR_MS) * HOUR_MS + HOUR_MS / 2 - Date.now();
  const clock = {
    nowMs: () => Date.now() + ahead,
    monotonicMs: () => performance.now() + ahead,
    forward: (ms: number) => void (ahead += ms),
  };
  const place = makePlace();
  place.write({ journal: `keep = "2d"\n[reports]\n${reports}` });
  const s = await stageKeeper(clock, place);
  const relay = new FakeRelay();
  const ledger = s.worker(1, 'local', (to, bytes) => sendOwn(gateway.rooms, to, bytes));
  const gateway = await startGateway({ config, relay, ledger, clock });
  await ledger.ready;
  t.after(async () => {
    await gateway.close();
    await ledger.close();
    await s.close();
  });
  const send = async (text: string): Promise<void> => {
    const host = gateway.connect();
    const heard = hear(host);
    const stuffed = text.replace(/(^|\r\n)\./g, '$1..');
    const lines = [
      'EHLO a.example',
      'MAIL FROM:<a@a.example>',
      'RCPT TO:<b@b.example>',
      'DATA',
      `${stuffed}.`,
      'QUIT',
      '',
    ];
    host.write(Buffer.from(lines.join('\r\n'), 'latin1'));
    await heard.end();
    assert.match(heard.text(), /^550 5\.7\.1 .*spam\.gtube/m);
  };
  return { s, relay, gateway, send, clock };
}

const unstuffed = (body: Buffer): string => body.toString('latin1').replace(/(^|\r\n)\./g, '$1');

test("Shows 3: a refused message is in the contact's mailbox as a report, from the null sender, past the filters", async (t) => {
  const { s, relay, gateway, send } = await stage(t);
  await send(SPAM);
  await until(() => relay.messages.length === 1, 'the report was sent');
  const [{ from, recipients, trace, body } = { from: '', recipients: [], trace: '', body: Buffer.alloc(0) }] =
    relay.messages;
  assert.deepEqual([from, recipients, trace], ['<> BODY=8BITMIME', ['<abuse@example.com>'], '']);
  const report = readReport(unstuffed(body));
  assert.equal(report.third, 'message/rfc822');
  assert.equal(report.quoted, SPAM, 'to the octet, dots and all');
  assert.deepEqual(report.fields.get('source-ip'), ['198.51.100.10']);
  assert.deepEqual(report.fields.get('feedback-type'), ['abuse']);
  while (!/^postern_reports_sent_total 1$/m.test(await s.metrics())) await setImmediate();

  await send(unstuffed(body));
  await s.log.seen('report.looped');
  assert.match(await s.metrics(), /^postern_reports_looped_total 1$/m);
  assert.equal(relay.messages.length, 1, 'a report that comes round leads to no other');
  assert.equal(gateway.rooms.budget.heldBytes, 0);
});

test('Shows 3: of many refusals the first are quoted, the rest are one digest when the hour is over', async (t) => {
  const { s, relay, send, clock } = await stage(t, `${REPORTS}per_hour = 2\n`);
  for (let i = 0; i < 7; i++) await send(SPAM);
  while (!/^postern_messages_total\{.*class="spam.gtube"\} 7$/m.test(await s.metrics())) await setImmediate();
  await until(() => relay.messages.length === 2, 'two reports');
  clock.forward(HOUR_MS);
  await until(() => relay.messages.length === 3, 'and the digest');
  const texts = relay.messages.map(({ body }) => body.toString('latin1'));
  for (const text of texts.slice(0, 2))
    assert.equal(readReport(text.replace(/(^|\r\n)\./g, '$1')).third, 'message/rfc822');
  assert.match(texts[2] ?? '', /^Subject: Refused mail from 198\.51\.100\.10: 5 more\r$/m);
  assert.match(texts[2] ?? '', /^ +5 {2}spam\.gtube/m);
});

for (const [setting, third] of [
  ['report = "headers"', 'From: a@a.example\r\nDate: x\r\nSubject: caf\xe9\r\n'],
  ['log = "hash"', /^Received: from a\.example \(\[198\.51\.100\.10\]\)/],
] as const)
  test(`with ${setting} no more than that is quoted`, async (t) => {
    const { relay, send } = await stage(t, REPORTS, setting);
    await send(SPAM);
    await until(() => relay.messages.length === 1, 'the report was sent');
    const report = readReport(unstuffed(relay.messages[0]?.body ?? Buffer.alloc(0)));
    assert.equal(report.third, 'text/rfc822-headers');
    if (typeof third === 'string') assert.equal(report.quoted, third);
    else assert.match(report.quoted, third);
  });

test("the contact is the subscriber's, else the tenant's, else the network's, else the one for all", async () => {
  const text = `[gateway]
name = "gw1.example.net"
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["192.0.2.25:587"]
[[network]]
name = "customers"
prefixes = ["198.51.100.0/24"]
tenant = "hosting"
contact = "network@example.net"
[[network]]
name = "others"
prefixes = ["192.0.2.0/24"]
report = "none"
[[subscriber]]
name = "own"
prefixes = ["198.51.100.1"]
contact = "own@example.net"
[[subscriber]]
name = "of-tenant"
prefixes = ["198.51.100.2"]
tenant = "shop"
[[subscriber]]
name = "of-nobody"
prefixes = ["198.51.100.3"]
tenant = "nobody"
report = "none"
[[tenant]]
name = "shop"
contact = "shop@example.net"
[reports]
from = "postern@example.net"
contact = "all@example.net"
`;
  const loaded = await parseConfig(text, 'test.toml');
  assert.ok(loaded.ok);
  const book = bookOf(loaded.config);
  const of = (network: string, subscriber?: string): readonly [string | undefined, boolean] => {
    const whose = attempt({ network, subscriber });
    return [book.contactOf(whose), book.isReported(whose)];
  };
  assert.deepEqual(of('customers', 'own'), ['own@example.net', true]);
  assert.deepEqual(of('customers', 'of-tenant'), ['shop@example.net', true]);
  assert.deepEqual(of('customers', 'of-nobody'), ['network@example.net', false]);
  assert.deepEqual(of('customers'), ['network@example.net', true]);
  assert.deepEqual(of('others'), ['all@example.net', false]);
});
