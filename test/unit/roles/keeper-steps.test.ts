/** Steps on the ladder in the keeper, at the hour that the test says it is: by hand, by rule, and back. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseConfig } from '../../../src/config/load.ts';
import { StepError } from '../../../src/ledger/steps.ts';
import { type KeeperSteps, keeperSteps } from '../../../src/roles/keeper-steps.ts';
import type { Attempt } from '../../../src/record/events.ts';
import { type TestClock, testClock } from '../../kit/clock.ts';
import { type Logbook, logbook } from '../../kit/logbook.ts';
import { goodToml } from '../config/outside.fake.ts';
import { attempt } from '../ledger/sample.ts';

const top = mkdtempSync(join(tmpdir(), 'postern-keeper-steps-'));
after(() => rmSync(top, { recursive: true }));
let places = 0;

const RULE = `[[step_rule]]
name = "bad-share"
classes = ["spam"]
share = 20
least = 10
within = "10m"
mode = "block"
for = "1m"
`;
const SUBSCRIBER = `[[subscriber]]
name = "web-1"
prefixes = ["198.51.100.7", "2001:db8:1:7::/64"]
[locks]
management = ["198.51.100.200/29"]
`;

type Bench = {
  readonly kept: KeeperSteps;
  readonly clock: TestClock;
  readonly log: Logbook;
  readonly again: () => KeeperSteps;
};

async function bench(toml = RULE + SUBSCRIBER): Promise<Bench> {
  const loaded = await parseConfig(goodToml + toml, 'a.toml');
  assert.ok(loaded.ok, loaded.ok ? '' : loaded.errors.map(({ message }) => message).join('\n'));
  const { config } = loaded;
  const directory = mkdtempSync(join(top, `${++places}-`));
  const [clock, log] = [testClock(), logbook()];
  const again = (): KeeperSteps => keeperSteps(directory, () => config, clock, log);
  return { kept: again(), clock, log, again };
}

const list = ({ steps }: KeeperSteps): unknown[] => steps.list().map(({ subject, mode, who }) => [subject, mode, who]);
const wanted = (subject: string, mode: 'block' | 'exempt' = 'block', until?: number) => ({
  ...{ subject, mode, reason: 'ticket 4711', who: 'ops' },
  until,
});

test('a step is taken by hand, survives a restart, ends at its time, and is taken back', async () => {
  const { kept, clock, log, again } = await bench();
  kept.take(wanted('198.51.100.9', 'block', clock.nowMs() + 60_000));
  kept.take(wanted('198.51.100.7'));
  kept.take(wanted('2001:db8:1:9::5', 'exempt'));
  kept.take(wanted('network:customers', 'exempt'));
  const all = [
    ['198.51.100.9', 'block', 'ops'],
    // An address of a configured subscriber is that subscriber.
    ['@web-1', 'block', 'ops'],
    ['2001:db8:1:9::/64', 'exempt', 'ops'],
    ['network:customers', 'exempt', 'ops'],
  ];
  assert.deepEqual(list(kept), all);
  assert.deepEqual(list(again()), all);
  clock.forward(61_000);
  assert.equal(kept.steps.tidy(), true);
  assert.deepEqual(list(kept), all.slice(1));
  kept.back('2001:db8:1:7::77', 'root');
  assert.deepEqual(list(kept), all.slice(2));
  assert.deepEqual(
    kept.history.list(10).map(({ what, who, step }) => [what, who, step.subject, step.reason]),
    [
      ['taken-back', 'root', '@web-1', 'ticket 4711'],
      ['ended', 'the clock', '198.51.100.9', 'ticket 4711'],
      ...all.map(([subject, , who]) => ['taken', who, subject, 'ticket 4711']).reverse(),
    ],
  );
  assert.deepEqual(
    log.events().filter((event) => event.startsWith('step.')),
    [...Array<string>(4).fill('step.taken'), 'step.ended', 'step.back'],
  );
});

test('nobody takes a step who is not there, and the operator is never closed', async () => {
  const { kept, clock } = await bench();
  for (const [who, message] of [
    ['192.0.2.1', /in no network/],
    ['@nobody', /there is no @nobody/],
    ['network:nowhere', /there is no network:nowhere/],
    ['198.51.100.201', /is never closed: 198\.51\.100\.200\/29 is in locks\.management/],
  ] as const)
    assert.throws(
      () => kept.take(wanted(who)),
      (error) => error instanceof StepError && message.test(error.message),
    );
  assert.throws(() => kept.take(wanted('198.51.100.9', 'block', clock.nowMs() - 1)), /has passed/);
  assert.throws(() => kept.back('198.51.100.9', 'ops'), /has the mode of the configuration/);
  kept.take(wanted('198.51.100.201', 'exempt'));
  assert.deepEqual(list(kept), [['198.51.100.201', 'exempt', 'ops']]);
});

const send = ({ kept, clock }: Bench, change: Partial<Attempt> = {}): boolean =>
  kept.seen(attempt({ source: '198.51.100.9', subscriber: undefined, at: clock.nowMs(), ...change }));

test('a bad share leads to a stricter mode for a while, and then back', async () => {
  const b = await bench();
  for (let i = 0; i < 8; i++) assert.equal(send(b), false);
  // One of nine and two of ten: 20 %.
  assert.equal(send(b, { class: 'spam.gtube', id: 'first' }), false);
  assert.equal(send(b, { class: 'spam.score', id: 'second' }), true);
  const [step] = b.kept.steps.list();
  assert.deepEqual(
    [step?.subject, step?.mode, step?.who, step?.reason, step?.evidence],
    ['198.51.100.9', 'block', 'rule bad-share', '2 of 10 attempts were spam in 10 min', ['first', 'second']],
  );
  // What was on its way counts from nothing and moves nobody who is there already.
  for (let i = 0; i < 20; i++) assert.equal(send(b, { class: 'spam.gtube' }), false);
  b.clock.forward(61_000);
  assert.equal(b.kept.steps.tidy(), true);
  assert.deepEqual(list(b.kept), []);
});

test('too little, too long ago, or good enough: no step', async () => {
  const b = await bench();
  for (let i = 0; i < 9; i++) assert.equal(send(b, { class: 'spam.gtube' }), false);
  b.clock.forward(660_000);
  for (let i = 0; i < 9; i++) assert.equal(send(b, { class: 'spam.gtube' }), false);
  const good = await bench();
  for (let i = 0; i < 99; i++)
    assert.equal(send(good, i % 6 === 5 ? { class: 'spam.gtube' } : { class: 'upstream.reply' }), false);
});

test('points count as what they are points of', async () => {
  const b = await bench();
  for (let i = 0; i < 9; i++) assert.equal(send(b, i === 0 ? { points: ['spam.rule'] } : {}), false);
  assert.equal(send(b, { points: ['content.size', 'spam.rule'] }), true);
});

test('of a network together, and only of the networks that are named; what observe lets pass counts', async () => {
  const rule = RULE.replace('mode = "block"', 'mode = "enforce"\nof = "network"\nnetworks = ["customers"]');
  const b = await bench(rule);
  for (let i = 0; i < 30; i++) assert.equal(send(b, { class: 'spam.gtube', network: 'others' }), false);
  const observed = { class: 'accepted.observed', wouldBe: 'spam.gtube', mode: 'observe' } as const;
  for (let i = 0; i < 9; i++) assert.equal(send(b, { ...observed, source: `198.51.100.${i}` }), false);
  assert.equal(send(b, observed), true);
  assert.deepEqual(list(b.kept), [['network:customers', 'enforce', 'rule bad-share']]);
  // Already there, by configuration: no step.
  const there = await bench(rule);
  for (let i = 0; i < 30; i++) assert.equal(send(there, { class: 'spam.gtube', mode: 'enforce' }), false);
});

test('a rule closes nobody from whom the gateway is managed', async () => {
  const b = await bench();
  for (let i = 0; i < 30; i++) send(b, { class: 'spam.gtube', source: '198.51.100.201' });
  assert.deepEqual(list(b.kept), []);
  assert.ok(b.log.events().includes('step.refused'));
});
