/**
 * The three places where a class is seen, against the table: the reply that the host read, the row of the journal, and the
 * metric.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Class, classUrl, enhancedCode, entryOf, isClass } from '../../src/policy/classes.ts';
import { verdictOf } from '../../src/policy/verdict.ts';
import type { Attempt } from '../../src/record/events.ts';
import { openJournal } from '../../src/record/journal.ts';
import { logbook } from './logbook.ts';
import { quietMetrics } from './metrics.ts';

/** Of testConfig. */
const HELP_URL = 'https://help.example/';
/** Where configuration overrules the class: what a filter's `finding` or `failure` says. */
const OVERRULED = { defer: 451, reject: 554 } as const;
/** A 4yz that stands in place of the banner (RFC 5321 section 4.3.2). */
const IN_PLACE_OF_BANNER = 421;

/** A refusal of ours as the host read it: `550 5.7.1 Text [spam.gtube id=… https://…]`. */
const OURS = /^(\d{3}) (\d\.\d\.\d{1,3}) (.+) \[(\S+) id=(\w{16}) (\S+)\]$/;

export type Told = { readonly line: string; readonly class: Class; readonly code: number; readonly id: string };

/** The refusals among the lines that hosts have read, each equal to the table. */
export function told(lines: readonly string[]): Told[] {
  return lines.flatMap((line) => {
    assert.ok(line.length <= 510, `${line.length + 2} octets: ${line}`);
    const [, code, status, text, of = '', id = '', url] = OURS.exec(line) ?? [];
    if (code === undefined) return [];
    assert.ok(isClass(of), line);
    const entry = entryOf(of);
    const said = Number(code);
    const isBanner = said === IN_PLACE_OF_BANNER && entry.code < 500;
    assert.ok(isBanner || [entry.code, OVERRULED.defer, OVERRULED.reject].includes(said), line);
    assert.deepEqual([status, url], [enhancedCode(said, entry), classUrl(of, HELP_URL)], line);
    assert.equal(withoutNote(text), entry.text, line);
    return [{ line, class: of, code: said, id }];
  });
}

/** Behind the class's text a limit says when to try again. */
function withoutNote(text: string | undefined): string | undefined {
  return text?.replace(/; try again in \d+ (?:second|minute|hour|day)s?$/, '');
}

/** What was recorded of all these attempts, and of the refusals among them that hosts were told. */
export async function assertRecorded(attempts: readonly Attempt[], refusals: readonly Told[]): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'postern-classes-'));
  const log = logbook();
  const journal = openJournal(join(dir, 'journal.db'), { keepMs: 86_400_000, maxSizeBytes: 2 ** 30 }, log);
  const metrics = quietMetrics({ journal: () => journal.state() });
  metrics.configure(['customers'], [], []);
  try {
    await log.seen('journal.ok');
    journal.append(attempts);
    for (const attempt of attempts) metrics.attempt(attempt);
    const { rows } = await journal.search({ limit: 10_000 });
    assert.equal(rows.length, attempts.length);
    const byId = Map.groupBy(rows, ({ id }) => id);
    for (const row of rows) {
      const entry = entryOf(row.class);
      const [, code] = /^(\d{3}) /.exec(row.reply) ?? [];
      // The far side's words are its own; where nothing was said to a message, the class speaks alone.
      if (row.class.startsWith('accepted.') || row.class === 'upstream.reply' || code === undefined) continue;
      if (Number(code) !== entry.code) {
        const may = [OVERRULED[row.verdict as 'defer'], ...(row.verdict === 'defer' ? [IN_PLACE_OF_BANNER] : [])];
        assert.ok(may.includes(Number(code)), `${row.class}: ${row.reply}`);
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
  } finally {
    await journal.close();
    rmSync(dir, { recursive: true, force: true });
  }
}
