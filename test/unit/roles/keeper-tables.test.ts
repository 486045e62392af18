/** Tables and notices by mail: who gets which rows, when, and what stands in a notice. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Mailed } from '../../../src/ledger/client.ts';
import { makePlace, type Stage, stageKeeper } from '../../kit/keeper.ts';
import { until } from '../../kit/wait.ts';
import { attempt } from '../ledger/sample.ts';

const HOUR_MS = 3_600_000;

type Got = { readonly to: string; readonly text: string };

/** A keeper at ten minutes past eight of tomorrow, and a worker that keeps what it is to send. */
async function stage(
  t: TestContext,
  more: string,
  place = makePlace(),
): Promise<{
  s: Stage;
  got: Got[];
  forward: (ms: number) => void;
  nowMs: () => number;
  record: (change: Parameters<typeof attempt>[0]) => void;
  journalled: (count: number) => Promise<void>;
}> {
  const day = 24 * HOUR_MS;
  let ahead = Math.ceil(Date.now() / day) * day + 8 * HOUR_MS + 600_000 - Date.now();
  const clock = { nowMs: () => Date.now() + ahead, monotonicMs: () => performance.now() + ahead };
  place.write({ journal: `keep = "30d"\n${more}` });
  const s = await stageKeeper(clock, place);
  t.after(() => s.close());
  const got: Got[] = [];
  const onMail = async (to: string, bytes: Buffer): Promise<Mailed> => {
    const text = bytes.toString('utf8');
    // Reports of what is refused here are another test's.
    if (!/^Subject: Refused mail/m.test(text)) got.push({ to, text });
    return { code: 250, reason: '' };
  };
  const worker = s.worker(1, 'local', onMail);
  await worker.ready;
  t.after(() => worker.close());
  let ids = 0;
  return {
    ...{ s, got, nowMs: () => clock.nowMs(), forward: (ms: number) => void (ahead += ms) },
    record: (change) => worker.record(attempt({ at: clock.nowMs(), id: `a${ids++}`, ...change })),
    async journalled(count) {
      while (!new RegExp(`^postern_journal_rows_total ${count}$`, 'm').test(await s.metrics())) await setImmediate();
    },
  };
}

/** The CSV of a mail. */
function csvOf({ text }: Got): string {
  const [, encoding = '', body = ''] =
    /text\/csv[^]*?Content-Transfer-Encoding: (\S+)[^]*?\r\n\r\n([^]*?)\r\n--/i.exec(text) ?? [];
  if (encoding === 'base64') return Buffer.from(body, 'base64').toString('utf8');
  const plain =
    encoding === 'quoted-printable'
      ? body
          .replace(/=\r\n/g, '')
          .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
      : body;
  return Buffer.from(plain, 'latin1').toString('utf8');
}

const CONTACTS = `[reports]
from = "postern@example.net"
contact = "abuse@example.net"
`;

test('every two hours a row for each identity: bob has Spam Count 3; once a day a row for each subscriber, each to its contact', async (t) => {
  const more = `${CONTACTS}tables = ["daily", "identities"]
[[tenant]]
name = "shop"
contact = "abuse@shop.example"
[[subscriber]]
name = "web-1"
prefixes = ["198.51.100.9"]
tenant = "shop"
`;
  const { got, forward, record, journalled } = await stage(t, more);
  const refused = { verdict: 'reject', class: 'spam.gtube', identity: 'bob' } as const;
  for (let i = 0; i < 3; i++) record(refused);
  record({ identity: 'alice' });
  record({ verdict: 'reject', class: 'sender.not-permitted', identity: '=cmd()' });
  record({});
  record({ ...refused, source: '198.51.100.9', subscriber: 'web-1', tenant: 'shop' });
  await journalled(7);
  assert.equal(got.length, 0);
  forward(2 * HOUR_MS);
  await until(() => got.length === 2, 'a table for each contact', 60_000);
  const of = (to: string): Got => got.find((one) => one.to === to) as Got;
  assert.match(of('abuse@example.net').text, /^Subject: What was sent, by identity: \d{4}-\d\d-\d\d 08h UTC\r$/m);
  assert.deepEqual(csvOf(of('abuse@example.net')).trim().split('\r\n'), [
    'Authentication Domain,Authentication User,User Identification,Spam Count,Invalid Sender Count',
    'customers,198.51.100.7,bob,3,0',
    "customers,198.51.100.7,'=cmd(),0,1",
    'customers,198.51.100.7,alice,0,0',
  ]);
  assert.deepEqual(csvOf(of('abuse@shop.example')).trim().split('\r\n').slice(1), ['shop,web-1,bob,1,0']);

  got.length = 0;
  forward(14 * HOUR_MS);
  await until(() => got.length === 2, 'the tables of the day; nothing was sent in the last two hours', 60_000);
  assert.match(of('abuse@example.net').text, /^Subject: What was sent, by subscriber: \d{4}-\d\d-\d\d\r$/m);
  const [head, ...rows] = csvOf(of('abuse@example.net')).trim().split('\r\n');
  assert.equal(
    head,
    'Subscriber,Network,Tenant,Attempts,Accepted,Deferred,Rejected,Spam Count,Virus Count,Invalid Sender Count,Bytes',
  );
  assert.deepEqual(rows, ['198.51.100.7,customers,,6,2,0,4,3,0,1,2468']);
  assert.equal(csvOf(of('abuse@shop.example')).trim().split('\r\n').length, 2);
});

test('a lock is told to the contact in the words of the template; what is filled in stays on its line', async (t) => {
  const more = `${CONTACTS}lock_notice = """
{subject} of {gateway} is locked
Who: {identity}
Why: {reason}
By {who} ({how}), until {until}.
Ids: {evidence}
"""
`;
  const { s, got } = await stage(t, more);
  const lock = {
    subject: '198.51.100.7/32',
    how: 'reject',
    reason: 'spam run\u2028\u202e',
    who: 'ops',
    until: undefined,
    evidence: ['A', 'B'],
  } as const;
  await s.ask({ of: 'lock', lock: { ...lock, identity: 'bob\u0007' } });
  await s.ask({ of: 'unlock', subject: lock.subject, identity: 'bob\u0007', who: 'ops' });
  await until(() => got.length === 1, 'it came', 60_000);
  const [{ to, text }] = got as [Got];
  assert.equal(to, 'abuse@example.net');
  assert.match(text, /^Subject: 198\.51\.100\.7\/32 of gw1\.example\.net is locked\r$/m);
  assert.match(text, /\r\nWho: bob \r\nWhy: spam run \r\nBy ops \(reject\), until it is unlocked\.\r\nIds: A B\r\n/);
  assert.match(text, /^Auto-Submitted: auto-generated\r$/m);
});
