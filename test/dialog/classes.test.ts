/**
 * Shows 1: one fixture per class through the real gateway: reply, journal row and metric equal to the table.
 *
 * The fixtures are the dialogs, all of them; test/unit/ground/classes.test.ts sees that each class has one.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Attempt } from '../../src/record/events.ts';
import { assertRecorded, type Told, told } from '../kit/table.ts';
import { parseDialog, playDialog } from './dialog.ts';

const PARALLEL = 8;

test('Shows 1: one fixture per class through the real gateway: reply, journal row, metric equal to the table', async () => {
  const paths = globSync(join(import.meta.dirname, '{normal,host,server,ours}/*.dialog')).sort();
  const attempts: Attempt[] = [];
  const refusals: Told[] = [];
  const play = async (path: string): Promise<void> => {
    const played = await playDialog(parseDialog(readFileSync(path, 'utf8')));
    attempts.push(...played.attempts);
    refusals.push(...told(played.told));
  };
  for (let at = 0; at < paths.length; at += PARALLEL) await Promise.all(paths.slice(at, at + PARALLEL).map(play));
  assert.ok(refusals.length > 50, `${refusals.length}`);
  await assertRecorded(attempts, refusals);
});
