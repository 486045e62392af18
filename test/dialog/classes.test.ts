/**
 * Shows 1: one fixture per class through the real gateway: reply, journal row and metric equal to the table.
 *
 * The fixtures are the dialogs, all of them; test/unit/ground/classes.test.ts sees that each class has one.
 */
import assert from 'node:assert/strict';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Class, classUrl, enhancedCode, entryOf, isClass } from '../../src/policy/classes.ts';
import { verdictOf } from '../../src/policy/verdict.ts';
import type { Attempt } from '../../src/record/events.ts';
import { openJournal } from '../../src/record/journal.ts';
import { logbook } from '../kit/logbook.ts';
import { quietMetrics } from '../kit/metrics.ts';
import { parseDialog, playDialog } from './dialog.ts';

const HELP_URL = 'https://help.example/';
const PARALLEL = 8;
/** Where configuration overrules the class: what a filter's `finding` or `failure` says. */
const OVERRULED = { defer: 451, reject: 554 } as const;

const dir = mkdtempSync(join(tmpdir(), 'postern-classes-'));
const journal = openJournal(join(dir, 'journal.db'), { keepMs: 86_400_000, maxSizeBytes: 2 ** 30 }, logbook());
const metrics = quietMetrics({ journal: () => journal.state() });
metrics.configure(['customers'], [], []);
after(async () => {
  await journal.close();
  rmSync(dir, { recursive: true, force: true });
});

/** A refusal of ours as the host read it: `550 5.7.1 Text [spam.gtube id=… https://…]`. */
const OURS = /^(\d{3}) (\d\.\d\.\d{1,3}) (.+) \[(\S+) id=(\w{16}) (\S+)\]$/;

type Told = { readonly line: string; readonly class: Class; readonly code: number; readonly id: string };

function told(lines: readonly string[]): Told[] {
  return lines.flatMap((line) => {
    assert.ok(line.length <= 510, `${line.length + 2} octets: ${line}`);
    const [, code, status, text, of = '', id = '', url] = OURS.exec(line) ?? [];
    if (code === undefined) return [];
    assert.ok(isClass(of), line);
    const entry = entryOf(of);
    const said = Number(code);
    assert.ok(said === entry.code || said === OVERRULED.defer || said === OVERRULED.reject, line);
    assert.deepEqual([status, url], [enhancedCode(said, entry), classUrl(of, HELP_URL)], line);
    assert.equal(withoutNote(text), entry.text, line);
    return [{ line, class: of, code: said, id }];
  });
}

/** Behind the class's text a limit says when to try again. */
function withoutNote(text: string | undefined): string | undefined {
  return text?.replace(/; try again in \d+ (?:second|minute|hour|day)s?$/, '');
}

test('Shows 1: one fixture per class through the real gateway: reply, journal row, metric equal to the table', async () => {
  const paths = globSync(join(import.meta.dirname, '{normal,host,server,ours}/*.dialog')).sort();
  const attempts: Attempt[] = [];
  const refusals: Told[] = [];
  const play = async (path: string): Promise<void> => {
    const played = await playDialog(parseDialog(readFileSync(path, 'utf8')));
    attempts.push(...played.attempts);
    for (const attempt of played.attempts) metrics.attempt(attempt);
    journal.append(played.attempts);
    refusals.push(...told(played.told));
  };
  for (let at = 0; at < paths.length; at += PARALLEL) await Promise.all(paths.slice(at, at + PARALLEL).map(play));
  assert.ok(refusals.length > 50, `${refusals.length}`);

  const { rows } = await journal.search({ limit: 10_000 });
  assert.equal(rows.length, attempts.length);
  const byId = Map.groupBy(rows, ({ id }) => id);
  for (const row of rows) {
    const entry = entryOf(row.class);
    const [, code] = /^(\d{3}) /.exec(row.reply) ?? [];
    // The far side's words are its own; where nothing was said to a message, the class speaks alone.
    if (row.class.startsWith('accepted.') || row.class === 'upstream.reply' || code === undefined) continue;
    if (Number(code) !== entry.code) {
      assert.equal(Number(code), OVERRULED[row.verdict as 'defer'], `${row.class}: ${row.reply}`);
      continue;
    }
    assert.equal(row.verdict, verdictOf(row.class).kind, row.class);
    assert.equal(withoutNote(row.reply), `${entry.code} ${enhancedCode(entry.code, entry)} ${entry.text}`);
  }
  // The id in a reply finds its row, of the transaction or else of the whole session.
  for (const { line, id } of refusals) {
    const found = byId.get(id) ?? rows.filter(({ session }) => session === id);
    assert.ok(found.length > 0, `nothing in the journal of ${line}`);
  }

  const expected = new Map<string, number>();
  for (const { class: of } of attempts) expected.set(of, (expected.get(of) ?? 0) + 1);
  const counted = new Map<string, number>();
  for (const [, of = '', count] of (await metrics.render()).matchAll(
    /^postern_messages_total\{.*class="([^"]+)".*\} (\d+)$/gm,
  ))
    counted.set(of, (counted.get(of) ?? 0) + Number(count));
  assert.deepEqual(counted, expected);
});
