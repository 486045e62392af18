/**
 * Tables of what was sent, by mail to each contact: of a day a row for each subscriber, of two hours a row for each identity.
 * Each period is told of once, also over restarts; those that the keeper did not live to see the end of, but the last, are left out.
 */
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import type { Config } from '../config/schema.ts';
import type { Clock } from '../kit/clock.ts';
import { writeAtomically } from '../kit/files.ts';
import type { Log } from '../kit/log.ts';
import type { SumRow, SumsQuestion } from '../record/query.ts';
import { dailyCsv, identitiesCsv } from '../record/sum-tables.ts';

type Kind = Config['reports']['tables'][number];

const HOUR_MS = 3_600_000;
const KINDS: Readonly<Record<Kind, { readonly lengthMs: number; readonly csv: (rows: readonly SumRow[]) => string }>> =
  {
    daily: { lengthMs: 24 * HOUR_MS, csv: dailyCsv },
    identities: { lengthMs: 2 * HOUR_MS, csv: identitiesCsv },
  };
/** what is on its way to the journal when a period ends */
const SETTLE_MS = 60_000;
const RETRY_MS = 60_000;

export type SumsDeps = {
  readonly stateDir: string;
  readonly config: () => Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly sums: (question: SumsQuestion) => Promise<readonly SumRow[]>;
  readonly contactOf: (whose: {
    readonly network: string;
    readonly subscriber: string | undefined;
  }) => string | undefined;
  readonly mail: (table: Table) => void;
};

export type Table = {
  readonly to: string;
  readonly kind: Kind;
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly csv: string;
};

/** To be called each second. */
export function keeperSums(deps: SumsDeps): () => void {
  const { config, clock, log } = deps;
  const path = join(deps.stateDir, 'tables.json');
  /** when the last period of each ended that was told of; the first is the one that is under way at the first start */
  const told: Record<Kind, number> = {
    daily: lastEndMs('daily', clock.nowMs()),
    identities: lastEndMs('identities', clock.nowMs()),
    ...read(path),
  };
  const underWay = new Set<Kind>();
  let notBeforeMs = 0;

  const tell = async (kind: Kind, untilMs: number): Promise<void> => {
    const { lengthMs, csv } = KINDS[kind];
    const sinceMs = untilMs - lengthMs;
    const byContact = new Map<string, SumRow[]>();
    for (const row of await deps.sums({ since: sinceMs, until: untilMs })) {
      const to = deps.contactOf({
        network: row.network,
        subscriber: row.subscriber === '' ? undefined : row.subscriber,
      });
      if (to !== undefined) byContact.set(to, [...(byContact.get(to) ?? []), row]);
    }
    told[kind] = untilMs;
    writeAtomically(path, `${JSON.stringify(told)}\n`);
    for (const [to, rows] of byContact) deps.mail({ to, kind, sinceMs, untilMs, csv: csv(rows) });
  };

  return () => {
    const nowMs = clock.nowMs();
    const { from, tables } = config().reports;
    if (from === undefined || nowMs < notBeforeMs) return;
    for (const kind of tables) {
      const untilMs = lastEndMs(kind, nowMs);
      if (told[kind] >= untilMs || underWay.has(kind)) continue;
      underWay.add(kind);
      tell(kind, untilMs)
        .catch((error: unknown) => {
          notBeforeMs = clock.nowMs() + RETRY_MS;
          log.write('warn', 'report.no-table', { kind, error: String(error), retryMs: RETRY_MS });
        })
        .finally(() => underWay.delete(kind));
    }
  };
}

/** The end of the last period that is over. */
function lastEndMs(kind: Kind, nowMs: number): number {
  const { lengthMs } = KINDS[kind];
  return Math.floor((nowMs - SETTLE_MS) / lengthMs) * lengthMs;
}

function read(path: string): Partial<Record<Kind, number>> {
  try {
    const raw = JSON.parse(readFileSync(path, 'utf8')) as Partial<Record<Kind, unknown>>;
    return Object.fromEntries(Object.entries(raw).filter(([, at]) => Number.isSafeInteger(at)));
  } catch {
    // None yet, or damaged: the next period is told of.
    return {};
  }
}
