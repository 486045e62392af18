/** Rules of the operator's own: what they are true of, what each leads to, and that no pattern holds the loop. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseConfig } from '../../../src/config/load.ts';
import { makeFilters } from '../../../src/filter/all.ts';
import { runFilters } from '../../../src/filter/run.ts';
import { named, zipOf } from '../../kit/archives.ts';
import { lookAt, mailOf, testDeps } from '../../kit/mail.ts';
import { within } from '../../kit/pace.ts';

async function filtersWith(...rules: readonly string[]) {
  const text = [
    '[gateway]\nname = "gw1.example.net"',
    '[intercept]\ninside = ["lan0"]',
    '[smarthost]\nservers = ["192.0.2.1:25"]\ntls = "none"',
    '[[network]]\nname = "customers"\nprefixes = ["198.51.100.0/24"]',
    ...rules.map((rule, i) => `[[rule]]\nname = "r${i}"\n${rule}`),
  ].join('\n');
  const loaded = await parseConfig(text.replace('192.0.2.1:25', '10.0.0.1:25'), 'test.toml');
  if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join('\n'));
  const { config } = loaded;
  return makeFilters(config, testDeps(config));
}

const MAIL = mailOf(
  named('x.zip', zipOf([{ name: 'Invoice.HTML', content: 'x' }])).replace(
    'see the file',
    'You have won!\r\nhttps://pay.zip/now and www.example.com',
  ),
  { recipients: ['a@a.example', 'info@b.example'] },
);

describe('a pattern is looked for', () => {
  const cases: readonly [rule: string, isTrue: boolean][] = [
    ["sender = '^a@'", true],
    ["sender = '@b'", false],
    ["recipient = '^info@'", true],
    ["helo = '^host\\.example$'", true],
    ["header = '^subject: files$'", true],
    ["header = '^subject: Files$'", false],
    ["body = '(?i)you HAVE won!$'", true],
    ["body = 'Invoice'", false],
    ["attachment = '^x\\.zip$'", true],
    ["attachment = '(?i)invoice.*\\.html$'", true],
    ["url = '^https?://[^/]+\\.zip/'", true],
    ["url = '^www\\.example\\.com$'", true],
    ["sender = '^a@'\nbody = 'won'", true],
    ["sender = '^b@'\nbody = 'won'", false],
  ];
  for (const [rule, isTrue] of cases)
    test(rule.replace('\n', ' and '), async () => {
      const { found } = await lookAt(await filtersWith(rule), MAIL);
      assert.equal(found.length, isTrue ? 1 : 0);
    });
});

test('each rule has its own action and score, and the finding has its name', async () => {
  const filters = await filtersWith(
    'sender = \'a\'\naction = "tag"\nscore = 0.1',
    'helo = \'host\'\naction = "reject"',
    "helo = 'x+y'",
  );
  const { judged, findings } = await runFilters(filters.body, MAIL, 1000);
  assert.deepEqual(
    judged.map(({ action, score, class: of }) => [action, score, of]),
    [
      ['tag', 0.1, 'spam.rule'],
      ['reject', 0.5, 'spam.rule'],
    ],
  );
  assert.deepEqual(
    findings.map(({ name, evidence }) => [name, evidence]),
    [
      ['r0', 'sender'],
      ['r1', 'helo'],
    ],
  );
});

test('Shows 3: 40: a hostile pattern on a hostile text is matched in a thread; the loop goes on', async () => {
  const filters = await filtersWith("body = '[01]*1[01]{20}$'", "body = '(a+)+$'", "body = 'x[01]*$'");
  const text = Array.from({ length: 200_000 }, (_, i) => ((i * 7919) % 13) % 2).join('');
  const mail = mailOf(`From: a\r\nDate: b\r\n\r\n${text}x0\r\n${'a'.repeat(1000)}\r\n`);
  await lookAt(filters, MAIL);
  let before = process.threadCpuUsage();
  let longestMs = 0;
  const timer = setInterval(() => {
    const { user, system } = process.threadCpuUsage(before);
    longestMs = Math.max(longestMs, (user + system) / 1000);
    before = process.threadCpuUsage();
  }, 1);
  const { found, failed } = await lookAt(filters, mail);
  clearInterval(timer);
  assert.ok(within(longestMs, 50), `the loop stood for ${longestMs} ms`);
  assert.deepEqual(failed, []);
  assert.deepEqual(found, ['r1: body', 'r2: body']);
});

test('patterns that are not done in time are a failure of the rules, and of nothing else', async () => {
  const filters = await filtersWith("body = '[01]*1[01]{300}$'");
  const slow = filters.body.find(({ name }) => name === 'rules');
  assert.ok(slow);
  const text = Array.from({ length: 250_000 }, (_, i) => ((i * 7919) % 13) % 2).join('');
  const { failures, judged } = await runFilters([{ ...slow, deadlineMs: 20 }], mailOf(`\r\n${text}\r\n`), 5000);
  assert.deepEqual(failures, [{ filter: 'rules', reason: 'Error: not done within 20 ms' }]);
  assert.equal(judged[0]?.action, 'ignore');
});
