/** What a filter makes of the answers of a service, and when it is left alone. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Breaker } from '../../../src/filter/breaker.ts';
import { Call } from '../../../src/filter/call.ts';
import { clamd, definitionsOf } from '../../../src/filter/clamd.ts';
import type { Filter, MakeFilter, Seen } from '../../../src/filter/filter.ts';
import { rspamd } from '../../../src/filter/rspamd.ts';
import { runFilters } from '../../../src/filter/run.ts';
import { type Behaviour, FakeService, rspamdSays } from '../../fake/service.ts';
import { testConfig } from '../../kit/gateway.ts';
import { logbook } from '../../kit/logbook.ts';
import { filtersOf, mailOf, testDeps } from '../../kit/mail.ts';

const TEXT = 'From: a@a.example\r\n\r\nhello\r\n';

/** The filter with a service that behaves so, and what it sees of a message. */
async function seen(kind: 'clamd' | 'rspamd', behaviour: Behaviour, text = TEXT): Promise<readonly Seen[]> {
  await using stand = await standFor(kind, behaviour);
  return await stand.filter.look(mailOf(text), new Call());
}

async function standFor(kind: 'clamd' | 'rspamd', behaviour: Behaviour) {
  const service = await new FakeService(kind, behaviour).start();
  const config = await testConfig(['127.0.0.1:2'], { filters: `${kind}.server = "${service.address}"` });
  const log = logbook();
  const make: MakeFilter = kind === 'clamd' ? clamd : rspamd;
  const filter = make(config, { ...testDeps(config), log }) as Filter<'body'>;
  return {
    service,
    filter,
    log,
    async [Symbol.asyncDispose]() {
      filter.close?.();
      await service.close();
    },
  };
}

describe('what ClamAV says', () => {
  for (const [says, expected] of [
    ['stream: OK', []],
    ['stream: Win.Test.EICAR_HDB-1 FOUND', ['virus.found']],
    ['stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND', ['virus.unscanned']],
    ['INSTREAM size limit exceeded. ERROR', ['virus.unscanned']],
  ] as const) {
    test(says, async () => {
      assert.deepEqual(
        (await seen('clamd', { says })).map((one) => one.class),
        expected,
      );
    });
  }

  for (const says of [
    '',
    'OK stream',
    'stream: ',
    'stream: a b FOUND',
    'UNKNOWN COMMAND',
    'stream: x ERROR',
    'x'.repeat(5000),
  ]) {
    test(`${JSON.stringify(says.slice(0, 20))} is a failure and never "clean"`, async () => {
      await assert.rejects(seen('clamd', { says }), /clamd/);
    });
  }

  test('the age of its definitions is reported, and a log line says that they are old', async () => {
    const made = new Date(Date.now() - 30 * 3_600_000);
    assert.equal(definitionsOf('ClamAV 1.4.6/27800/Mon Nov 24 09:33:02 2025'), Date.parse('Mon Nov 24 09:33:02 2025'));
    assert.equal(definitionsOf('ClamAV 1.4.6'), undefined);
    const service = await new FakeService('clamd', { says: 'stream: OK' }).start();
    service.version = `ClamAV 1.4.6/27800/${made.toString().slice(0, 24)}`;
    const config = await testConfig(['127.0.0.1:2'], { filters: `clamd.server = "${service.address}"` });
    const log = logbook();
    const filter = clamd(config, { ...testDeps(config), log }) as Filter<'body'>;
    await log.seen('definitions.stale');
    const at = filter.report?.().definitionsAt ?? 0;
    assert.ok(Math.abs(at - made.getTime()) < 1000, `${at}`);
    filter.close?.();
    await service.close();
  });
});

test('what its failure leads to may be another for plain text without attachments', async () => {
  const set = await filtersOf('clamd.server = "/nonexistent"\nclamd.failure_text = "ignore"');
  for (const [header, action] of [
    ['', 'ignore'],
    ['Content-Type: text/plain\r\n', 'ignore'],
    ['Content-Type: TEXT/Plain; charset=utf-8\r\n', 'ignore'],
    ['Content-Type: text/plainer\r\n', 'defer'],
    ['Content-Type: text/html\r\n', 'defer'],
    ['Content-Type: multipart/mixed; boundary=text/plain\r\n', 'defer'],
    ['Content-Type: text/plain\r\nContent-Type: application/zip\r\n', 'defer'],
  ] as const) {
    const mail = mailOf(`From: a@a.example\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n${header}\r\nhello\r\n`);
    const { judged } = await runFilters(set.body, mail, 10_000);
    const failed = judged.filter((one) => one.by === 'clamd');
    assert.deepEqual(
      failed.map((one) => [one.class, one.action]),
      [['error.filter', action]],
      header,
    );
  }
});

describe('what Rspamd says', () => {
  for (const [action, score, expected] of [
    ['no action', -0.5, ['accepted.clean', 0]],
    ['greylist', 4.5, ['spam.rspamd-greylist', 0.3]],
    ['add header', 7.5, ['spam.rspamd-probable', 0.5]],
    ['rewrite subject', 7.5, ['spam.rspamd-probable', 0.5]],
    ['soft reject', 3, ['spam.rspamd-soft', 0.2]],
    ['reject', 99, ['spam.rspamd', 1]],
    ['discard', 15, ['spam.rspamd', 1]],
    ['quarantine', 15, ['spam.rspamd', 1]],
  ] as const) {
    test(action, async () => {
      const [found, ...more] = await seen('rspamd', rspamdSays(action, score));
      assert.deepEqual([found?.class, found?.score, more], [...expected, []]);
      assert.equal(found?.evidence, `${score} of 15: TEST(${score})`);
    });
  }

  for (const says of [
    '',
    'no action',
    '{}',
    '[]',
    'null',
    '{"action":"toString","score":1}',
    '{"action":"reject"}',
    '{"action":"reject","score":"9"}',
  ]) {
    test(`${says} is a failure`, async () => {
      await assert.rejects(seen('rspamd', { says }));
    });
  }
});

test('both get the octets of the message as it was written', async () => {
  const stuffed = 'Subject: x\r\n\r\n..\r\n...a\r\nb.\r\n..';
  for (const kind of ['clamd', 'rspamd'] as const) {
    await using stand = await standFor(kind, kind === 'clamd' ? { says: 'stream: OK' } : rspamdSays('no action'));
    await stand.filter.look(mailOf(stuffed), new Call());
    assert.equal(stand.service.messages[0]?.toString(), 'Subject: x\r\n\r\n.\r\n..a\r\nb.\r\n.');
  }
});

test('a look that is called off ends its connection', async () => {
  for (const kind of ['clamd', 'rspamd'] as const) {
    await using stand = await standFor(kind, 'hang');
    const call = new Call();
    const look = stand.filter.look(mailOf(TEXT), call);
    while (stand.service.messages.length === 0) await new Promise((resolve) => setImmediate(resolve));
    call.end();
    await assert.rejects(async () => look);
    // Closing waits for every connection to be over.
    await stand.service.close();
  }
});

describe('a breaker', () => {
  const clock = { now: 0, monotonicMs: () => clock.now, nowMs: () => clock.now };
  const fails = (): Promise<never> => Promise.reject(new Error('no'));
  const fine = (): Promise<string> => Promise.resolve('yes');

  test('asks until five failures in a row, then once after each pause, which grows to 30 s', async () => {
    clock.now = 0;
    const log = logbook();
    const breaker = new Breaker('clamd', { clock, log });
    for (let i = 0; i < 4; i++) await assert.rejects(breaker.ask(fails), /no/);
    assert.equal(await breaker.ask(fine), 'yes', 'one answer begins the count anew');
    for (let i = 0; i < 5; i++) await assert.rejects(breaker.ask(fails), /no/);
    assert.ok(breaker.isOpen);
    await assert.rejects(breaker.ask(fine), /left alone after 5 failures/);
    for (const pauseMs of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
      clock.now += pauseMs - 1;
      await assert.rejects(breaker.ask(fails), /left alone/, `before ${pauseMs} ms`);
      clock.now += 1;
      await assert.rejects(breaker.ask(fails), /no/, `after ${pauseMs} ms`);
    }
    clock.now += 30_000;
    let answer: (value: string) => void = () => {};
    const trial = breaker.ask(() => new Promise<string>((resolve) => (answer = resolve)));
    await assert.rejects(breaker.ask(fine), /left alone/, 'one message tries, the others do not wait for it');
    answer('back');
    assert.equal(await trial, 'back');
    assert.equal(await breaker.ask(fine), 'yes');
    assert.deepEqual(log.events(), ['service.down', 'service.up']);
    assert.deepEqual(breaker.report(), { name: 'clamd', up: true, answered: 3, failed: 16, skipped: 9, ms: 0 });
    assert.deepEqual(breaker.report(), { name: 'clamd', up: true, answered: 0, failed: 0, skipped: 0, ms: 0 });
  });

  test('what was under way when it was given up makes no pause longer', async () => {
    clock.now = 0;
    const breaker = new Breaker('rspamd', { clock, log: logbook() });
    await Promise.allSettled(Array.from({ length: 50 }, () => breaker.ask(fails)));
    clock.now = 1000;
    assert.equal(await breaker.ask(fine), 'yes');
  });
});
