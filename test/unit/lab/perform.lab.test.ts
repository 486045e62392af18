import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { startDirect, startInsideServer } from '../../../src/lab/direct.ts';
import { createNetwork } from '../../../src/lab/network.ts';
import { leaks, perform } from '../../../src/lab/perform.ts';
import { EXTRA_HOSTS, PLACED, theScript } from '../../../src/lab/script.ts';
import { startSmarthost } from '../../../src/lab/smarthost.ts';
import { needsRoot } from '../../kit/tier.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-test-'));
const closers: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closers) await close();
  rmSync(directory, { recursive: true });
});

// A gateway that only forwards is the largest leak there is: whoever judges the lab must see all of it.
test('without Postern the script finds every promise broken and every leak', { skip: needsRoot }, async () => {
  const network = await createNetwork({ hosts: EXTRA_HOSTS });
  closers.push(network.destroy);
  const [smarthost, direct, insideServer] = await Promise.all([
    startSmarthost(network.internet, { directory }),
    startDirect(network.internet),
    startInsideServer(network.inside, [PLACED.customer]),
  ]);
  const asked: string[] = [];
  const stage = {
    ...{ network, smarthost, direct, insideServer },
    lock: async (subject: string) => void asked.push(`lock ${subject}`),
    unlock: async (subject: string) => void asked.push(`unlock ${subject}`),
  };
  const rounds = theScript('bare');
  const progress: string[] = [];
  const onProgress = (done: number, of: number, now: string): void => void progress.push(`${done}/${of} ${now}`);
  const outcomes = await perform(stage, 'bare', rounds, onProgress, new AbortController().signal);

  for (const { trial, saw, wrong } of outcomes) {
    // Port 587, mail from outside and exempt hosts need no Postern.
    if (trial.expected.kind === 'direct') assert.deepEqual(wrong, [], trial.id);
    else if (trial.expected.kind === 'preserved')
      assert.match(wrong.join(), /the top line is not our Received/, trial.id);
    else assert.match(wrong.join(), /1 came to the server it called/, trial.id);
    assert.match(saw.reply, /^250 .* directly$/, trial.id);
  }
  // Hosts that keep their address look the same at the server with Postern and without.
  const past = outcomes
    .filter(({ trial }) => trial.expected.kind !== 'direct' && trial.network !== 'keepers')
    .map(({ trial }) => trial.source);
  assert.deepEqual(new Set(leaks(direct.lines).map((line) => line.split(' ')[0])), new Set(past));
  assert.deepEqual(asked, ['lock 198.51.100.11', 'unlock 198.51.100.11']);
  assert.equal(outcomes.length, rounds.flatMap(({ trials }) => trials).length);
  assert.equal(progress.at(0), `0/${outcomes.length} a normal mail`);
});

test('an interrupted script stops before its next trial', { skip: needsRoot }, async () => {
  const network = await createNetwork();
  closers.push(network.destroy);
  const [smarthost, direct, insideServer] = await Promise.all([
    startSmarthost(network.internet, { directory: mkdtempSync(join(directory, 'x')) }),
    startDirect(network.internet),
    startInsideServer(network.inside, [PLACED.customer]),
  ]);
  const controller = new AbortController();
  const nothing = async (): Promise<void> => {};
  const stage = { ...{ network, smarthost, direct, insideServer }, lock: nothing, unlock: nothing };
  const interrupt = (): void => controller.abort(new Error('SIGINT'));
  await assert.rejects(perform(stage, 'x', theScript('x'), interrupt, controller.signal), /SIGINT/);
});
