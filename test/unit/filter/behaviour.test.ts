/** What a subscriber did before, through the real gateway; the keeper's answers are planted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeRelay } from '../../fake/relay.ts';
import { hear } from '../../fuzz/hear.ts';
import { aDaysMail } from '../../kit/campaign.ts';
import { startGateway, testConfig } from '../../kit/gateway.ts';
import { assertRecorded, type Told, told } from '../../kit/table.ts';

const ENVELOPE = 'EHLO a.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\n';

async function start(filters: string) {
  return startGateway({ config: await testConfig(['127.0.0.1:2'], { filters }), relay: new FakeRelay() });
}

test('Shows 1: a host that speaks before it is greeted', async () => {
  const gateway = await start('behaviour.enabled = true\nbehaviour.early = "reject"');
  const { promise: admitted, resolve } = Promise.withResolvers<'ok'>();
  gateway.ledger.admit = () => admitted;
  const host = gateway.connect();
  const heard = hear(host);
  host.write(`${ENVELOPE}QUIT\r\n`);
  while (host.writableLength > 0) await new Promise(setImmediate);
  await new Promise(setImmediate);
  resolve('ok');
  const said = await heard.end();
  assert.match(said, /\r\n554 5\.7\.1 This source spoke before it was greeted \[/);
  const [attempt] = await gateway.ledger.recorded(1);
  assert.deepEqual([attempt?.class], ['behaviour.early']);
  await assertRecorded(gateway.ledger.attempts, told(said.split('\r\n')));
  await gateway.close();

  const patient = await start('behaviour.enabled = true\nbehaviour.early = "reject"');
  const other = patient.connect();
  const says = hear(other);
  await says.until(/^220 /);
  other.write(`${ENVELOPE}QUIT\r\n`);
  assert.match(await says.end(), /\r\n250 [^\r]*\r\n221 /);
  await patient.close();
});

test('Shows 1: a campaign is seen at the tenth host, whatever its identities', async () => {
  const gateway = await start('campaign.enabled = true\ncampaign.finding = "reject"');
  const mails = aDaysMail(5, 12, 0, 0).filter(({ kind }) => kind === 'campaign');
  const classes: string[] = [];
  const refusals: Told[] = [];
  for (const [i, { text }] of mails.entries()) {
    const host = gateway.connect(`198.51.100.${i + 1}`);
    const heard = hear(host);
    host.write(`${ENVELOPE}DATA\r\n${text.replaceAll(/^\./gm, '..')}.\r\nQUIT\r\n`);
    refusals.push(...told((await heard.end()).split('\r\n')));
    classes.push((await gateway.ledger.recorded(i + 1))[i]?.class ?? '');
  }
  assert.deepEqual(classes, [...Array<string>(9).fill('accepted.clean'), ...Array<string>(3).fill('spam.campaign')]);
  assert.equal(refusals.length, 3);
  await assertRecorded(gateway.ledger.attempts, refusals);
  await gateway.close();
});
