/** Latency that a peer adds: at half of its own highest rate, and with one session at a time. */
import { load, PHASES } from './programs.ts';
import { table } from './report.ts';
import type { Row } from './rounds.ts';
import type { SampleOptions, Standing } from './sample.ts';
import type { Sample } from './sample.ts';
import { median, spread } from './statistics.ts';
import { holds, withSpread } from './tables.ts';

const ADDED_P99_AT_MOST_MS = 5;
/** A Nagle or delayed-ACK stall is 40 ms. */
const STALL_MS = 35;
const HALF = 0.5;

export type Added = {
  readonly peer: string;
  readonly rate: number;
  readonly p50Ms: readonly number[];
  readonly p99Ms: readonly number[];
  readonly directP99Ms: readonly number[];
  readonly failed: number;
};

/** Open loop: a session is due at fixed times, and its latency counts from when it was due. */
export async function addedLatency(
  standing: Standing,
  direct: Standing,
  highestRate: number,
  { seconds, family, rounds }: SampleOptions & { readonly rounds: number },
): Promise<Added> {
  const rate = Math.max(1, Math.round(highestRate * HALF));
  const once = async ({ stage, peer }: Standing) =>
    load(stage.network.inside, peer.target[family], {
      rate,
      connections: 2000,
      seconds,
      warmup: seconds / 5,
      sources: stage.sources(family, 250),
    });
  const added = { p50Ms: [] as number[], p99Ms: [] as number[], directP99Ms: [] as number[], failed: 0 };
  for (let round = 0; round < rounds; round++) {
    const without = await once(direct);
    const through = await once(standing);
    added.p50Ms.push(through.message.p50Ms - without.message.p50Ms);
    added.p99Ms.push(through.message.p99Ms - without.message.p99Ms);
    added.directP99Ms.push(without.message.p99Ms);
    added.failed += through.failed;
  }
  return { peer: standing.kind.name, rate, ...added };
}

export function latencyTables(added: readonly Added[], single: readonly Row[]): string {
  const own = added.find(({ peer }) => peer === 'postern');
  const row = (peer: string): Row | undefined => single.find((candidate) => candidate.peer === peer);
  const [direct, haproxy, postern] = [row('direct'), row('haproxy'), row('postern')];
  const p50 = ({ load: { message } }: Sample): number => message.p50Ms;
  const over = (of: Row): number => median(of.samples.map(p50)) - median((direct?.samples ?? []).map(p50));
  const targets: string[][] = [];
  if (own) {
    const { median: p99 } = spread(own.p99Ms);
    targets.push([
      `g: added p99 at half of its highest rate (${own.rate}/s)`,
      `< ${ADDED_P99_AT_MOST_MS} ms`,
      `${withSpread(spread(own.p99Ms))} ms`,
      holds(p99 < ADDED_P99_AT_MOST_MS),
    ]);
  }
  if (direct && haproxy && postern) {
    const adds = over(postern);
    targets.push([
      'l: added p50, one session at a time',
      `less than HAProxy's ${over(haproxy).toFixed(3)} ms`,
      `${adds.toFixed(3)} ms`,
      holds(adds < over(haproxy)),
    ]);
    const [phase, ms] = slowest(postern);
    targets.push([
      'l: no 40 ms stall, no timer before the banner',
      `p90 of each step < ${STALL_MS} ms`,
      `slowest: ${phase}, ${ms.toFixed(2)} ms`,
      holds(ms < STALL_MS),
    ]);
  }
  return [
    table(['', 'target', 'measured', ''], targets),
    'Added to direct delivery at half of its own highest rate, open loop:',
    table(
      ['peer', 'sessions/s', 'p50 ms', 'p99 ms', "direct's p99 ms", 'failed'],
      added.map((a) => [
        a.peer,
        String(a.rate),
        withSpread(spread(a.p50Ms)),
        withSpread(spread(a.p99Ms)),
        withSpread(spread(a.directP99Ms)),
        String(a.failed),
      ]),
    ),
    'One session at a time, from the connection to the final 250:',
    table(
      ['peer', 'p50 ms', 'p99 ms', 'banner p50 ms', 'slowest step (p90)'],
      single.map((of) => {
        const middle = (pick: (sample: Sample) => number): string => median(of.samples.map(pick)).toFixed(3);
        const [phase, ms] = slowest(of);
        return [
          of.peer,
          middle(p50),
          middle(({ load: { message } }) => message.p99Ms),
          middle(({ load: { phases } }) => phases.banner.p50Ms),
          `${phase} ${ms.toFixed(2)} ms`,
        ];
      }),
    ),
  ].join('\n\n');
}

/** The step that takes longest, by the p90 of the median sample. */
function slowest({ samples }: Row): [string, number] {
  const all = PHASES.map(
    (phase) => [phase, median(samples.map(({ load }) => load.phases[phase].p90Ms))] as [string, number],
  );
  return all.reduce((worst, one) => (one[1] > worst[1] ? one : worst));
}
