/** Peers side by side: round by round, each beside a sample of the reference, so that what else the machine does meets all alike. */
import type { PeerName } from './peers/peer.ts';
import { measure, type Sample, type SampleOptions, type Standing } from './sample.ts';
import type { Scenario } from './scenarios.ts';
import { spread, type Spread } from './statistics.ts';

/** The reference, which understands nothing and opens a connection for every connection. */
export const REFERENCE: PeerName = 'haproxy';

/** One peer's samples in one scenario, each with the reference's sample beside it. */
export type Row = {
  readonly peer: PeerName;
  readonly samples: readonly Sample[];
  readonly references: readonly Sample[];
};

export type RoundOptions = SampleOptions & {
  readonly rounds: number;
  /** a reference sample before each peer's, or one for each round */
  readonly referenceEach: boolean;
  readonly say: (text: string) => void;
};

export async function runRounds(
  standings: readonly Standing[],
  scenario: Scenario,
  options: RoundOptions,
): Promise<Row[]> {
  const able = standings.filter(({ kind }) => !(kind.rejectsItself && kind.queues && scenario.load.mode === 'reject'));
  const reference = able.find(({ kind }) => kind.name === REFERENCE);
  const others = able.filter((standing) => standing !== reference);
  const rows = new Map(able.map(({ kind }) => [kind.name, { samples: [] as Sample[], references: [] as Sample[] }]));
  for (let round = 0; round < options.rounds; round++) {
    let beside: Sample | undefined;
    for (let i = 0; i < others.length; i++) {
      // Each round begins with another one.
      const standing = others[(i + round) % others.length] as Standing;
      if (reference && (options.referenceEach || i === 0)) {
        beside = await measure(reference, scenario, options);
        rows.get(REFERENCE)?.samples.push(beside);
      }
      const sample = await measure(standing, scenario, options);
      const row = rows.get(standing.kind.name);
      row?.samples.push(sample);
      if (beside) row?.references.push(beside);
      options.say(
        `${scenario.name} ${round + 1}/${options.rounds} ${standing.kind.name}: ${sample.rate.toFixed(0)} ${scenario.unit}` +
          `${beside ? `, ${(sample.rate / beside.rate).toFixed(2)} of ${REFERENCE}` : ''}${sample.wrong && `  (${sample.wrong})`}`,
      );
    }
    if (others.length === 0 && reference)
      rows.get(REFERENCE)?.samples.push(await measure(reference, scenario, options));
  }
  return [...rows].map(([peer, row]) => ({ peer, ...row }));
}

/** Sample by sample against the reference beside it. */
export function ratio(row: Row, of: (sample: Sample) => number): Spread {
  return spread(
    row.samples.flatMap((sample, i) => {
      const beside = row.references[i];
      return beside ? [of(sample) / of(beside)] : [];
    }),
  );
}

/** One peer against another of the same rounds: both against their references, so that neighbours are compared. */
export function ratioBetween(row: Row, other: Row, of: (sample: Sample) => number): Spread {
  const own = row.samples.map((sample, i) => of(sample) / (row.references[i] ? of(row.references[i]) : 1));
  const others = other.samples.map((sample, i) => of(sample) / (other.references[i] ? of(other.references[i]) : 1));
  return spread(own.map((value, i) => value / (others[i] ?? Number.NaN)).filter(Number.isFinite));
}
