/** The rows of runRounds as tables: ratios with what they had to be, and the figures behind them. */
import { ratio, ratioBetween, REFERENCE, type Row } from './rounds.ts';
import { table } from './report.ts';
import type { Sample } from './sample.ts';
import type { Scenario } from './scenarios.ts';
import { median, spread, type Spread } from './statistics.ts';

export type Measured = { readonly scenario: Scenario; readonly rows: readonly Row[] };

/** CPU per message in (a), at most this many times the reference's. */
const CPU_AT_MOST = 1.3;

const rate = (sample: Sample): number => sample.rate;
const cpu = (sample: Sample): number => sample.cpuMsPerMessage;

/** Everything against the reference, one line for each scenario and peer. */
export function ratioTables(measured: readonly Measured[]): string {
  const peers = [...new Set(measured.flatMap(({ rows }) => rows.map(({ peer }) => peer)))].filter(
    (p) => p !== REFERENCE,
  );
  const cell =
    (of: (sample: Sample) => number) =>
    (m: Measured, peer: string): string => {
      const row = m.rows.find((candidate) => candidate.peer === peer);
      return row && row.references.length > 0 ? withSpread(ratio(row, of)) : '-';
    };
  const grid = (of: (sample: Sample) => number, some: readonly string[]): string =>
    table(
      ['', ...some],
      measured.map((m) => [`${m.scenario.name}: ${m.scenario.about}`, ...some.map((peer) => cell(of)(m, peer))]),
    );
  return [
    '### Throughput, as a ratio to HAProxy (median, least to most)',
    grid(rate, peers),
    '### CPU per message of all processes, as a ratio to HAProxy',
    grid(
      cpu,
      peers.filter((peer) => peer !== 'direct'),
    ),
  ].join('\n\n');
}

export function targetTable(measured: readonly Measured[]): string {
  const rows = measured.flatMap(({ scenario, rows: found }) => {
    const own = found.find(({ peer }) => peer === 'postern');
    if (!own) return [];
    const against = Object.entries(scenario.atLeast ?? {}).flatMap(([peer, least]) => {
      const other = found.find((row) => row.peer === peer);
      if (!other) return [];
      const value = peer === REFERENCE ? ratio(own, rate) : ratioBetween(own, other, rate);
      return [[`${scenario.name}: rate, to ${peer}`, `≥ ${least}`, withSpread(value), holds(value.median >= least)]];
    });
    if (scenario.name === 'a' && own.references.length > 0) {
      const value = ratio(own, cpu);
      against.push([
        `h: CPU per message in a, to ${REFERENCE}`,
        `≤ ${CPU_AT_MOST}`,
        withSpread(value),
        holds(value.median <= CPU_AT_MOST),
      ]);
    }
    if (scenario.name === 'c') {
      const peak = Math.max(...own.samples.map(({ largestPeakBytes }) => largestPeakBytes));
      against.push(['c: peak memory of the largest process', '< 250 MB', `${megabytes(peak)} MB`, holds(peak < 250e6)]);
    }
    return against;
  });
  return table(['', 'target', 'measured', ''], rows);
}

export function figureTable(measured: readonly Measured[]): string {
  const rows = measured.flatMap(({ scenario, rows: found }) =>
    found.map(({ peer, samples }) => {
      const rates = spread(samples.map(rate));
      const latency = (of: (sample: Sample) => number): string => median(samples.map(of)).toFixed(2);
      const wrong = [...new Set(samples.map((sample) => sample.wrong).filter(Boolean))];
      return [
        scenario.name,
        peer,
        `${round(rates.median)} (${round(rates.least)}-${round(rates.most)}) ${scenario.unit}`,
        peer === 'direct' ? '-' : latency(cpu),
        latency(({ load }) => load.message.p50Ms),
        latency(({ load }) => load.message.p99Ms),
        peer === 'direct' ? '-' : megabytes(Math.max(...samples.map(({ peakBytes }) => peakBytes))),
        peer === 'direct' ? '-' : megabytes(Math.max(...samples.map(({ largestPeakBytes }) => largestPeakBytes))),
        wrong.join('; ') || '-',
      ];
    }),
  );
  return table(
    ['', 'peer', 'rate', 'CPU ms/msg', 'p50 ms', 'p99 ms', 'peak MB, all', 'peak MB, largest', 'went wrong'],
    rows,
  );
}

export function holds(does: boolean): string {
  return does ? 'holds' : '**not reached**';
}

export function withSpread({ median: middle, least, most }: Spread): string {
  return Number.isFinite(middle) ? `${digits(middle)} (${digits(least)}-${digits(most)})` : '-';
}

export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

function digits(value: number): string {
  return value.toFixed(value < 10 ? 2 : 1);
}

function round(value: number): string {
  return value < 100 ? value.toFixed(1) : value.toFixed(0);
}
