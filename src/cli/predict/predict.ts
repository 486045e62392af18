/** What a configuration would refuse of what the journal has, beside what was refused. */
import type { Config } from '../../config/schema.ts';
import { sourceOf } from '../../kit/address.ts';
import { type Fact, factsSince } from '../../record/facts.ts';
import { withFilters } from './filters.ts';
import { Replay } from './replay.ts';

/** How many attempts of somebody were refused for a reason, and how many would have been in mode "observe". */
export type PredictedRow = {
  readonly class: string;
  readonly subscriber: string;
  refusedBefore: number;
  observedBefore: number;
  refusedAfter: number;
  observedAfter: number;
};

export type Predicted = {
  readonly attempts: number;
  /** attempts whose connection would have been refused at its first */
  readonly gone: number;
  /** attempts without addresses of mail (the network's `log`): senders and domains are not judged */
  readonly withoutAddresses: number;
  /** most refused after, first */
  readonly rows: readonly PredictedRow[];
};

/** Without a configuration: what was refused, and what mode "observe" would have. Throws SQLite's error. */
export async function predict(journal: string, sinceMs: number, config?: Config): Promise<Predicted> {
  const rows = new Map<string, PredictedRow>();
  const rowOf = (of: string, subscriber: string): PredictedRow => {
    const key = `${of} ${subscriber}`;
    let row = rows.get(key);
    if (!row) {
      row = { class: of, subscriber, refusedBefore: 0, observedBefore: 0, refusedAfter: 0, observedAfter: 0 };
      rows.set(key, row);
    }
    return row;
  };
  const counts = { attempts: 0, gone: 0, withoutAddresses: 0 };
  const count = (replay: Replay | undefined): void => {
    for (const fact of factsSince(journal, sinceMs)) {
      counts.attempts++;
      if (isKeptFromUs(fact)) counts.withoutAddresses++;
      const before = refusedBefore(fact);
      if (before !== undefined) {
        const row = rowOf(before, whoOf(fact));
        if (fact.wouldBe === before) row.observedBefore++;
        else row.refusedBefore++;
      }
      if (!replay) continue;
      const { subject, class: of, isObserved } = replay.judge(fact);
      if (of === 'gone') counts.gone++;
      else if (of !== undefined) {
        const row = rowOf(of, subject);
        if (isObserved) row.observedAfter++;
        else row.refusedAfter++;
      }
    }
  };
  if (config) await withFilters(config, (filters) => count(new Replay(config, filters)));
  else count(undefined);
  const all = [...rows.values()];
  const weight = (row: PredictedRow): number =>
    row.refusedAfter + row.observedAfter || row.refusedBefore + row.observedBefore;
  all.sort(
    (a, b) => weight(b) - weight(a) || a.class.localeCompare(b.class) || a.subscriber.localeCompare(b.subscriber),
  );
  return { ...counts, rows: all };
}

/** Our own reason: the far side's replies and hosts that went are none. */
function refusedBefore({ verdict, class: of, wouldBe }: Fact): string | undefined {
  if (wouldBe !== undefined) return wouldBe;
  return verdict === 'accept' || of === 'upstream.reply' || of.startsWith('session.') ? undefined : of;
}

/** As subscribers are named where they are counted. */
function whoOf({ subscriber, source }: Fact): string {
  return subscriber === undefined ? sourceOf(source) : `@${subscriber}`;
}

function isKeptFromUs({ sender }: Fact): boolean {
  return sender === '' || sender?.startsWith('hash:') === true;
}
