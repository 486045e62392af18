/** Locks by rule in the keeper, at the hour that the test says it is: how long, how often, and who is never locked. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseConfig } from '../../../src/config/load.ts';
import type { Config } from '../../../src/config/schema.ts';
import { LockError } from '../../../src/ledger/locks.ts';
import { type KeeperLocks, keeperLocks } from '../../../src/roles/keeper-locks.ts';
import type { Attempt } from '../../../src/record/events.ts';
import { type TestClock, testClock } from '../../kit/clock.ts';
import { type Logbook, logbook } from '../../kit/logbook.ts';
import { goodToml } from '../config/outside.fake.ts';
import { attempt } from '../ledger/sample.ts';

const top = mkdtempSync(join(tmpdir(), 'postern-keeper-locks-'));
after(() => rmSync(top, { recursive: true }));
let places = 0;

const RULE = `[[lock_rule]]
name = "spam-run"
classes = ["spam"]
count = 3
within = "10m"
for = "1m"
unlocks = 1
`;
const SUBSCRIBER = `[[subscriber]]
name = "web-1"
prefixes = ["198.51.100.7", "2001:db8:1:7::/64"]
tenant = "acme"
[locks]
management = ["198.51.100.200/29"]
`;

type Bench = {
  readonly kept: KeeperLocks;
  readonly clock: TestClock;
  readonly log: Logbook;
  readonly again: () => KeeperLocks;
};

async function bench(toml = RULE + SUBSCRIBER): Promise<Bench> {
  const loaded = await parseConfig(goodToml + toml, 'a.toml');
  assert.ok(loaded.ok, loaded.ok ? '' : loaded.errors.map(({ message }) => message).join('\n'));
  const config: Config = loaded.config;
  const directory = mkdtempSync(join(top, `${++places}-`));
  const [clock, log] = [testClock(), logbook()];
  const again = (): KeeperLocks => keeperLocks(directory, () => config, clock, log);
  return { kept: again(), clock, log, again };
}

const spam = (kept: KeeperLocks, clock: TestClock, change: Partial<Attempt> = {}): boolean =>
  kept.seen(attempt({ class: 'spam.gtube', identity: 'bob', at: clock.nowMs(), ...change }));
const list = ({ locks }: KeeperLocks): unknown[] =>
  locks.list().map(({ subject, identity, until }) => [subject, identity, until === undefined ? 'for ever' : 'a while']);

test('lock timeout 1 min, 1 unlock: the first lock ends by itself, the second stays, over a restart too', async () => {
  const { kept, clock, again } = await bench();
  assert.deepEqual([spam(kept, clock), spam(kept, clock), spam(kept, clock)], [false, false, true]);
  assert.deepEqual(list(kept), [['198.51.100.7/32', 'bob', 'a while']]);
  clock.forward(61_000);
  assert.equal(kept.locks.tidy(), true);
  assert.deepEqual(list(kept), []);
  const restarted = again();
  for (let i = 0; i < 3; i++) spam(restarted, clock);
  assert.deepEqual(list(restarted), [['198.51.100.7/32', 'bob', 'for ever']]);
  clock.forward(30 * 86_400_000);
  restarted.locks.tidy();
  assert.deepEqual(list(restarted), [['198.51.100.7/32', 'bob', 'for ever']]);
  restarted.locks.unlock('198.51.100.7', 'root', 'bob');
  assert.deepEqual(list(restarted), []);
  // After the period the rule begins anew.
  for (let i = 0; i < 3; i++) spam(restarted, clock);
  assert.deepEqual(list(restarted), [['198.51.100.7/32', 'bob', 'a while']]);
  assert.deepEqual(
    restarted.history.list(10).map(({ what, who, rule }) => [what, who, rule]),
    [
      ['locked', 'rule spam-run', 'spam-run'],
      ['unlocked', 'root', undefined],
      ['locked', 'rule spam-run', 'spam-run'],
      ['expired', 'the clock', undefined],
      ['locked', 'rule spam-run', 'spam-run'],
    ],
  );
});

test('a configured subscriber is locked by its name, with reason and evidence', async () => {
  const { kept, clock } = await bench();
  for (const id of ['A', 'B', 'C']) spam(kept, clock, { id, subscriber: 'web-1', identity: undefined });
  const [lock] = kept.locks.list();
  assert.deepEqual(
    [lock?.subject, lock?.reason, lock?.who, lock?.evidence],
    ['@web-1', '3 of spam in 10 min', 'rule spam-run', ['A', 'B', 'C']],
  );
});

test('a lock by hand stays as it is when a rule is fulfilled', async () => {
  const { kept, clock } = await bench();
  kept.locks.lock({
    subject: '198.51.100.7',
    identity: 'bob',
    how: 'defer',
    reason: 'x',
    who: 'root',
    until: undefined,
  });
  for (let i = 0; i < 4; i++) assert.equal(spam(kept, clock), false);
  assert.equal(kept.locks.list()[0]?.who, 'root');
});

test('who is in locks.management is locked neither by rule nor by hand nor in a prefix around; his identities can be', async () => {
  const { kept, clock, log } = await bench();
  for (let i = 0; i < 3; i++) assert.equal(spam(kept, clock, { source: '198.51.100.201', identity: undefined }), false);
  assert.deepEqual(log.events(), ['lock.refused']);
  const byHand = { how: 'kernel', reason: 'x', who: 'root', until: undefined } as const;
  for (const subject of ['198.51.100.201', '198.51.100.0/24'])
    assert.throws(() => kept.locks.lock({ subject, ...byHand }), /is in locks\.management/);
  for (let i = 0; i < 3; i++) spam(kept, clock, { source: '198.51.100.201' });
  assert.deepEqual(list(kept), [['198.51.100.201/32', 'bob', 'a while']]);
});

test('by name: a subscriber and a tenant that there are; an identity not in the kernel', async () => {
  const { kept } = await bench();
  const lock = (subject: string, more: object = {}): unknown =>
    kept.locks.lock({ subject, how: 'reject', reason: 'x', who: 'root', until: undefined, ...more });
  lock('@web-1');
  lock('tenant:acme', { identity: 'bob' });
  assert.deepEqual(list(kept), [
    ['@web-1', undefined, 'for ever'],
    ['tenant:acme', 'bob', 'for ever'],
  ]);
  for (const [subject, more] of [
    ['@web-2', {}],
    ['tenant:none', {}],
    ['@web-1', { identity: 'bob', how: 'kernel' }],
  ] as const)
    assert.throws(() => lock(subject, more), LockError);
});

test('without rules nothing is looked at', async () => {
  const { kept, clock } = await bench(SUBSCRIBER);
  for (let i = 0; i < 5; i++) assert.equal(spam(kept, clock), false);
});
