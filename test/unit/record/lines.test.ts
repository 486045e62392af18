import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Log, safeJson } from '../../../src/kit/log.ts';
import { fit } from '../../../src/record/events.ts';
import { writeLine } from '../../../src/record/lines.ts';
import { hostile, RAW_CONTROL } from '../../kit/hostile.ts';
import { attempt } from '../ledger/sample.ts';

function lineOf(event: Parameters<typeof writeLine>[1]): string {
  const lines: string[] = [];
  const log: Log = { write: (level, name, fields) => void lines.push(safeJson({ level, event: name, ...fields })) };
  writeLine(log, event);
  assert.equal(lines.length, 1);
  return lines[0] as string;
}

test('hostile strings in every field: one line, no raw control, at most 1,001 characters a field', () => {
  for (const text of hostile) {
    const line = lineOf(
      fit(
        attempt({
          helo: text,
          sender: text,
          reply: text,
          upstream: text,
          upstreamReply: text,
          recipients: [{ recipient: text, code: 550, class: 'upstream.reply' }],
          findings: [{ filter: 'f', name: text, score: 1, evidence: text }],
        }),
      ),
    );
    assert.doesNotMatch(line, RAW_CONTROL, JSON.stringify(text.slice(0, 40)));
    assert.doesNotMatch(line, /\n/);
    const back = JSON.parse(line) as Record<string, unknown>;
    assert.ok((back['helo'] as string).length <= 1001);
    assert.equal(back['event'], 'attempt');
  }
});

test('a message to thousands gives a line that journald takes whole, with the true count', () => {
  const recipients = Array.from({ length: 5000 }, (_, i) => ({
    recipient: `recipient${i}@b.example`,
    code: 250,
    class: 'accepted.clean' as const,
  }));
  const line = lineOf(fit(attempt({ recipients })));
  assert.ok(line.length < 48 * 1024);
  const back = JSON.parse(line) as { recipientCount: number; recipients: unknown[] };
  assert.equal(back.recipientCount, 5000);
  assert.equal(back.recipients.length, 20);
});
