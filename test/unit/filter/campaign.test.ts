/** Many hosts that send what looks alike, and what is none of that. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { makeFilters } from '../../../src/filter/all.ts';
import { campaign } from '../../../src/filter/campaign.ts';
import { runFilters } from '../../../src/filter/run.ts';
import { hostsIn, phonesIn, sketchOf, walletsIn } from '../../../src/filter/sketch.ts';
import { Campaigns } from '../../../src/ledger/campaigns.ts';
import type { Inquiry } from '../../../src/ledger/inquiry.ts';
import { aDaysMail, Writer } from '../../kit/campaign.ts';
import { testConfig } from '../../kit/gateway.ts';
import { filtersOf, lookAt, mailOf, testDeps } from '../../kit/mail.ts';
import { count, seed } from '../../kit/tier.ts';

test('Shows 5: campaign on a simulated botnet: at least 95 % stopped after the first 10 hosts, none of the others', async () => {
  const filters = await filtersOf('campaign.enabled = true\ncampaign.finding = "reject"');
  const all = aDaysMail(seed, 400, count(2500, 5000), count(500, 5000));
  let hosts = 0;
  let stopped = 0;
  const wrong: string[] = [];
  for (const { subscriber, kind, text } of all) {
    const { found } = await lookAt(filters, mailOf(text, { subscriber, sender: `${subscriber}@a.example` }));
    if (kind === 'campaign' && ++hosts > 10) stopped += found.length;
    else if (kind !== 'campaign' && found.length > 0) wrong.push(`${kind} ${subscriber}: ${found[0]}`);
  }
  const share = stopped / (hosts - 10);
  assert.ok(share >= 0.95, `${(share * 100).toFixed(1)} % stopped, seed ${seed}`);
  assert.deepEqual(wrong, [], `seed ${seed}`);
});

describe('the keeper counts who takes part', () => {
  const writer = new Writer(7);
  const text = writer.words(120);
  const ask = (
    subscriber: string,
    words: readonly string[],
    more: Partial<Extract<Inquiry, { of: 'campaign' }>> = {},
  ) => ({
    of: 'campaign' as const,
    subscriber,
    identity: `i-${subscriber}`,
    sketch: sketchOf(words.join(' '), []),
    keys: [],
    ...more,
  });
  const start = (settings = {}) => new Campaigns({ windowMs: 1000, maxClusters: 1000, ...settings });

  test('different subscribers, within the window', () => {
    const campaigns = start();
    for (let i = 0; i < 5; i++) campaigns.ask(ask('a', text), i);
    assert.deepEqual(campaigns.ask(ask('b', text), 500), {
      of: 'campaign',
      subscribers: 2,
      identities: 2,
      messages: 6,
    });
    assert.equal(campaigns.ask(ask('c', writer.words(120)), 501).subscribers, 1);
    assert.equal(campaigns.ask(ask('d', text), 1400).subscribers, 2, 'the first is out of the window');
    assert.equal(campaigns.ask(ask('e', text), 9000).subscribers, 1);
  });

  test('the same wallet is the same campaign, whatever the text', () => {
    const campaigns = start();
    campaigns.ask(ask('a', text, { keys: ['w'] }), 0);
    assert.equal(campaigns.ask(ask('b', writer.words(120), { keys: ['w'] }), 1).subscribers, 2);
    assert.equal(campaigns.ask(ask('c', [], { keys: ['w'] }), 2).subscribers, 3);
    assert.equal(campaigns.ask(ask('d', [], {}), 2).subscribers, 1, 'nothing to compare');
  });

  test('a message that is sent on by many is of one, and one that only says so is not', () => {
    const campaigns = start();
    for (let i = 0; i < 20; i++) assert.equal(campaigns.ask(ask(`s${i}`, text, { copy: 'same' }), i).subscribers, 1);
    assert.equal(campaigns.ask(ask('x', text, { copy: 'other' }), 30).subscribers, 2);
  });

  test('there is a bound, and what a single subscriber sends goes first', () => {
    const campaigns = start({ maxClusters: 100, windowMs: 1e9 });
    campaigns.ask(ask('a', text), 0);
    campaigns.ask(ask('b', text), 0);
    for (let i = 0; i < 500; i++) campaigns.ask(ask('c', writer.words(120)), 1);
    assert.equal(campaigns.size, 100);
    assert.equal(campaigns.ask(ask('d', text), 2).subscribers, 3);
  });
});

test('what is compared: words, hosts, numbers', () => {
  assert.deepEqual(sketchOf('too few words to say anything', []), []);
  assert.deepEqual(hostsIn(['https://user@WWW.a.example:8080/x?y', '//b.example', 'www.c.example.', 'mailto:x']), [
    'www.a.example',
    'b.example',
    'www.c.example',
  ]);
  assert.deepEqual(
    phonesIn('call +49 (0)30 123 456-78 or 030/12345678, not 12/2026'),
    ['012345678', '012345678'].slice(0, 1),
  );
  assert.deepEqual(walletsIn('to 0x00000000219ab540356cBB839Cbe05303d7705Fa now'), [
    '0x00000000219ab540356cBB839Cbe05303d7705Fa',
  ]);
});

test('a keeper that does not answer is a failure with its meaning', async () => {
  const config = await testConfig(['127.0.0.1:2'], { filters: 'campaign.enabled = true\ncampaign.failure = "defer"' });
  const inquire = () => Promise.reject(new Error('the keeper is away'));
  const { body } = makeFilters(config, { ...testDeps(config), inquire }, [campaign]);
  const result = await runFilters(body, mailOf(`\r\n${new Writer(1).words(100).join(' ')}\r\n`), 1000);
  assert.deepEqual(result.failures, [{ filter: 'campaign', reason: 'Error: the keeper is away' }]);
  assert.equal(result.judged[0]?.action, 'defer');
});
