/** All attempts since a time, oldest first, with what a decision hangs on: to be judged again. Reads only. */
import { DatabaseSync } from 'node:sqlite';
import type { Class } from '../policy/classes.ts';
import type { Attempt, Finding, RecipientOutcome } from './events.ts';
import { SLICE_SHIFT } from './schema.ts';

const BUSY_TIMEOUT_MS = 2_000;

export type Fact = Pick<
  Attempt,
  | 'id'
  | 'session'
  | 'at'
  | 'network'
  | 'subscriber'
  | 'source'
  | 'destination'
  | 'helo'
  | 'identity'
  | 'sender'
  | 'sizeBytes'
  | 'verdict'
  | 'class'
  | 'wouldBe'
  | 'findings'
  | 'recipients'
>;

type Row = [
  n: number,
  id: string,
  session: string,
  at: number,
  network: string,
  subscriber: string | null,
  source: string,
  destination: string,
  helo: string | null,
  identity: string | null,
  sender: string | null,
  size: number,
  verdict: Attempt['verdict'],
  of: Class,
  wouldBe: Class | null,
  findings: string | null,
];
type RecipientRow = [attempt: number, recipient: string, code: number, of: Class];

const NO_FINDINGS: readonly Finding[] = [];
const NO_RECIPIENTS: readonly RecipientOutcome[] = [];

/** Throws SQLite's error when the file cannot be read. */
export function* factsSince(path: string, sinceMs: number): Generator<Fact> {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    // All that is read is read as it is now, whatever is written or deleted meanwhile.
    database.exec('BEGIN');
    const first = `(SELECT coalesce(min(slice), 0) << ${SLICE_SHIFT} FROM slices WHERE last_at >= ?)`;
    const attempts = database.prepare(
      `SELECT n, id, session, at, network, subscriber, source, destination, helo, identity, sender, size, verdict, class, would_be, findings
       FROM attempts WHERE n >= ${first} AND at >= ? ORDER BY n`,
    );
    const recipients = database.prepare(
      `SELECT attempt, recipient, code, class FROM recipients WHERE attempt >= ${first} ORDER BY attempt, i`,
    );
    attempts.setReturnArrays(true);
    recipients.setReturnArrays(true);
    const others = recipients.iterate(sinceMs) as unknown as Iterator<RecipientRow, undefined>;
    let next = others.next().value;
    for (const row of attempts.iterate(sinceMs, sinceMs) as unknown as Iterable<Row>) {
      const [n, id, session, at, network, subscriber, source, destination, helo, identity, sender, size] = row;
      const [, , , , , , , , , , , , verdict, of, wouldBe, findings] = row;
      while (next && next[0] < n) next = others.next().value;
      let own: RecipientOutcome[] | undefined;
      for (; next && next[0] === n; next = others.next().value)
        (own ??= []).push({ recipient: next[1], code: next[2], class: next[3] });
      yield {
        id,
        session,
        at,
        network,
        subscriber: subscriber ?? undefined,
        source,
        destination,
        helo: helo ?? undefined,
        identity: identity ?? undefined,
        sender: sender ?? undefined,
        sizeBytes: size,
        verdict,
        class: of,
        wouldBe: wouldBe ?? undefined,
        findings: findings === null ? NO_FINDINGS : (JSON.parse(findings) as readonly Finding[]),
        recipients: own ?? NO_RECIPIENTS,
      };
    }
  } finally {
    database.close();
  }
}
