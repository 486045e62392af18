/** The page where the URL in a refusal leads, opened from the line that is locked, and from elsewhere. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { chromium } from 'playwright-core';
import { needsRoot } from '../kit/tier.ts';
import { makePlace } from '../kit/keeper.ts';
import { testClock } from '../kit/clock.ts';
import { attempt } from '../unit/ledger/sample.ts';
import { type Panel, type Reply, startPanel } from './setup.ts';

const LINE = '198.51.100.7';
const PAGE = '/classes/locked.subscriber';
const NETWORKS = `[[network]]
name = "customers"
prefixes = ["198.51.100.0/24"]
[locks]
self_unlocks = 2
[panel]
proxies = ["127.0.0.1/32"]
[[lock_rule]]
name = "spam-run"
classes = ["spam"]
count = 2
within = "10m"
lock = "subscriber"
for = "2h"
unlocks = 10
`;

async function stage(t: TestContext, networks = NETWORKS) {
  const clock = testClock();
  const place = makePlace();
  place.write({ networks });
  const p = await startPanel(t, clock, place);
  const worker = p.worker(1);
  await worker.ready;
  let sent = 0;
  return {
    ...{ p, clock },
    /** as a web server in front passes it on */
    from: (address: string, method = 'GET', headers: Record<string, string> = {}, body?: string): Promise<Reply> =>
      p.send(method, PAGE, { 'x-forwarded-for': `203.0.113.99, ${address}`, ...headers }, body),
    spamRun: async (): Promise<void> => {
      for (let i = 0; i < 2; i++)
        worker.record(
          attempt({
            ...{ id: `01HZX3V9Q0000A${String(sent++).padStart(2, '0')}`, at: clock.nowMs(), source: LINE },
            ...{ verdict: 'reject', class: 'spam.gtube', sender: '<alice@customer.example>' },
            recipients: [{ recipient: '<bob@far.example>', code: 550, class: 'spam.gtube' }],
            findings: [{ filter: 'gtube', name: 'GTUBE', score: 10, evidence: 'the secret words of the message' }],
          }),
        );
      while (((await p.ask({ of: 'locks' })) as unknown[]).length === 0) await new Promise(setImmediate);
    },
  };
}

const DONE = 'check0=done&check1=done&check2=done&check3=done';
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const wordIn = ({ text }: Reply): string => /name="word" value="([^"]+)"/.exec(text)?.[1] ?? '';
const locksOf = async (p: Panel): Promise<number> => ((await p.ask({ of: 'locks' })) as unknown[]).length;

test('from the locked line: why, with so much of the evidence as its sender knows already; it unlocks so often as it may', async (t) => {
  const { p, from, spamRun, clock } = await stage(t);
  for (const left of ['2 times more', 'Once more']) {
    await spamRun();
    const page = await from(LINE);
    assert.match(page.text, /The line 198\.51\.100\.7.*after 2 of spam in 10 min/s);
    assert.match(page.text, /This message is the test of spam filters|GTUBE|spam/i);
    assert.match(page.text, /a…@customer\.example.*b…@far\.example/s);
    assert.doesNotMatch(page.text, /alice|bob@|secret words/);
    assert.match(page.text, new RegExp(left));
    assert.match(
      page.headers.get('content-security-policy') ?? '',
      /^default-src 'none'; style-src 'self'; form-action 'self';/,
    );
    const word = wordIn(page);
    for (const [who, headers, body, status] of [
      [LINE, FORM, `word=${word}`, 400],
      [LINE, { ...FORM, origin: 'https://evil.example' }, `word=${word}&${DONE}`, 403],
      [LINE, FORM, `word=guessed&${DONE}`, 403],
      ['198.51.100.8', FORM, `word=${word}&${DONE}`, 403],
    ] as const)
      assert.equal((await from(who, 'POST', headers, body)).status, status, `${who} ${body}`);
    assert.equal(await locksOf(p), 1);
    const done = await from(LINE, 'POST', FORM, `word=${word}&${DONE}`);
    assert.deepEqual([done.status, await locksOf(p)], [200, 0]);
    assert.match(done.text, /may send again/);
  }
  await spamRun();
  const third = await from(LINE);
  assert.match(third.text, /ended by whoever runs the network/);
  assert.equal(wordIn(third), '');
  const [event] = (await p.ask({ of: 'lock-history', limit: 10 })) as { what: string; who: string }[];
  assert.equal(event?.what, 'locked');
  clock.forward(8 * 86_400_000);
  await p.ask({ of: 'locks' });
});

test('from elsewhere the page says what the class means, and nothing of anybody', async (t) => {
  const { p, from, spamRun } = await stage(t);
  await spamRun();
  for (const elsewhere of ['198.51.100.8', '203.0.113.1', 'nonsense']) {
    const { status, text } = await from(elsewhere);
    assert.equal(status, 200);
    assert.doesNotMatch(text, /The line|customer\.example|<form/);
  }
  // A host that is no proxy does not choose whom it speaks for.
  const other = await stage(t, NETWORKS.replace('127.0.0.1/32', '192.0.2.80/32'));
  await other.spamRun();
  assert.doesNotMatch((await other.from(LINE)).text, /The line/);
  assert.equal(await locksOf(p), 1);
});

test('a browser sends the form, with the origin that its page lets it say', { skip: needsRoot }, async (t) => {
  const { p, spamRun } = await stage(t);
  await spamRun();
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
  t.after(() => browser.close());
  const page = await browser.newPage({ extraHTTPHeaders: { 'x-forwarded-for': LINE } });
  await page.goto(`${p.url}${PAGE}`);
  for (const box of await page.locator('input[type=checkbox]').all()) await box.check();
  await Promise.all([page.waitForNavigation({ timeout: 60_000 }), page.click('button')]);
  assert.match(await page.innerText('body'), /may send again/);
  assert.equal(await locksOf(p), 0);
});

test('who is not locked writes nothing into the record of looks', async (t) => {
  const { p, from } = await stage(t);
  const audit = join(p.place.stateDir, 'audit.jsonl');
  const { status, text } = await from('198.51.100.8', 'POST', FORM, `word=guessed&${DONE}`);
  assert.deepEqual([status, existsSync(audit) ? readFileSync(audit, 'utf8') : ''], [403, ''], text);
});

test('what was locked by hand is not told why, nor ended here; nor anything where the configuration says never', async (t) => {
  const { p, from } = await stage(t);
  const lock = {
    subject: LINE,
    how: 'reject',
    reason: 'ticket 4711, very rude',
    who: 'anna',
    until: Date.now() + 9e9,
  } as const;
  await p.ask({ of: 'lock', lock });
  const page = await from(LINE);
  assert.match(page.text, /is refused since.*ended by whoever runs the network/s);
  assert.doesNotMatch(page.text, /4711|anna|<form/);
  const never = await stage(t, NETWORKS.replace('self_unlocks = 2', ''));
  await never.spamRun();
  assert.doesNotMatch((await never.from(LINE)).text, /<form/);
});

test('one line looks forty times in a quarter of an hour, and others all the same', async (t) => {
  const { from } = await stage(t);
  for (let i = 0; i < 40; i++) assert.equal((await from(LINE)).status, 200);
  assert.equal((await from(LINE)).status, 429);
  assert.equal((await from('198.51.100.8')).status, 200);
});
