/** Connection attempts that must not matter: from locked hosts (f), and from one host far beyond what there is (flood). */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Postern, startPostern } from './peers/postern.ts';
import { load, type LoadResult, program } from './programs.ts';
import { table } from './report.ts';
import { type SampleOptions, setUp, type Standing } from './sample.ts';
import { BAD, must, sourcesFile } from './stage.ts';
import { median } from './statistics.ts';
import { holds } from './tables.ts';

const SYNS_PER_SECOND = 100_000;
const KNOCKS_PER_SECOND = 10_000;
const LOCKED = Array.from({ length: 62 }, (_, i) => `198.51.100.${65 + i}`);
const REPORT_EVERY_MS = 2_500;
const REPORTED_MS = 30_000;
const FLOODER = '198.51.100.20';

export type FloodOptions = SampleOptions & {
  readonly rounds: number;
  /** of the flood from one host */
  readonly floodSeconds: number;
  /** sessions per second of the others; Postern's highest rate */
  readonly highestRate: number;
};

type Kept = { readonly without: number; readonly during: number };

/** Rows of the table of targets. The others send at half of the highest rate, and as fast as they can. */
export async function floods(options: FloodOptions): Promise<string[][]> {
  let postern: Postern | undefined;
  const standing = await setUp({
    name: 'postern',
    about: '',
    start: async (stage) => (postern = await startPostern(stage)),
  });
  try {
    if (!postern) throw new Error('it has not started');
    const { gateway } = postern;
    const locked = await gateway.postern('lock', BAD, '--reason', 'bench', '--how', 'kernel');
    if (locked.code !== 0) throw new Error(`cannot lock: ${locked.stderr}`);
    await must(standing.stage.network.inside, [`ip addr add ${FLOODER}/24 dev eth0`]);
    await others(standing, options, 0);
    return [
      ...(await fromLocked(standing, options)),
      ...(await fromOne(standing, options, (seconds) => knock(standing, options, seconds))),
    ];
  } finally {
    await standing.close();
  }
}

async function fromLocked(standing: Standing, options: FloodOptions): Promise<string[][]> {
  const { seconds, rounds } = options;
  const sources = sourcesFile('locked', LOCKED);
  const half = Math.round(options.highestRate / 2);
  let offered = 0;
  let sent = 0;
  const before = await counted(standing);
  let started = 0;
  const compare = async (rate: number): Promise<Kept[]> => {
    const all: Kept[] = [];
    for (let round = 0; round < rounds; round++) {
      const without = await others(standing, options, rate);
      const syns = syn(standing, sources, seconds + 1);
      const during = await others(standing, options, rate);
      const flood = await syns;
      offered += flood.offered;
      sent += flood.seconds;
      started += without.started + during.started;
      all.push(kept(rate, without, during));
    }
    return all;
  };
  const atHalf = await compare(half);
  const saturated = await compare(0);
  const after = await counted(standing);
  const unexpected = after.sessions - before.sessions - started;
  const locked = after.locked - before.locked;
  return [
    [
      `f: other sources' rate, ${half}/s offered, while locked hosts offer ${Math.round(offered / sent)} SYN/s`,
      '≥ 95 %',
      percent(atHalf),
      holds(share(atHalf) >= 0.95),
    ],
    [
      'f: the same, others as fast as they can (the machine has no processor left for the flood)',
      '-',
      percent(saturated),
      '-',
    ],
    [
      'f: sessions of locked hosts that userspace has seen',
      '0',
      `${unexpected}; refused in the kernel: ${locked} of ${offered}`,
      holds(unexpected === 0 && locked > 0),
    ],
  ];
}

async function fromOne(
  standing: Standing,
  options: FloodOptions,
  flood: (seconds: number) => Promise<LoadResult>,
): Promise<string[][]> {
  const half = Math.round(options.highestRate / 2);
  const results: string[][] = [];
  for (const rate of [half, 0]) {
    const seconds = options.floodSeconds;
    const before = await others(standing, { ...options, seconds: Math.min(seconds, 10) }, rate);
    const attempts = flood(seconds + 1);
    const during = await others(standing, { ...options, seconds }, rate);
    const { started, replies } = await attempts;
    const one = [kept(rate, before, during)];
    results.push([
      `flood: other sources' rate, ${rate > 0 ? `${rate}/s offered` : 'as fast as they can'}, ${seconds} s of ${Math.round(started / (seconds + 1))} attempts/s from one host (${replies['banner 220'] ?? 0} accepted)`,
      rate > 0 ? '≥ 80 %' : '-',
      percent(one),
      rate > 0 ? holds(share(one) >= 0.8) : '-',
    ]);
  }
  return results;
}

/** What well-behaved hosts get. Rate 0: as fast as they can. */
function others({ stage, peer }: Standing, { family, seconds }: SampleOptions, rate: number): Promise<LoadResult> {
  return load(stage.network.inside, peer.target[family], {
    ...(rate > 0 ? { rate, connections: 2000 } : { connections: 50 }),
    seconds,
    warmup: Math.min(1, seconds / 5),
    sources: stage.sources(family, 250),
  });
}

function knock({ stage, peer }: Standing, { family }: SampleOptions, seconds: number): Promise<LoadResult> {
  return load(stage.network.inside, peer.target[family], {
    mode: 'knock',
    rate: KNOCKS_PER_SECOND,
    connections: 2000,
    seconds,
    sources: sourcesFile('flooder', [FLOODER]),
  });
}

type Offered = { readonly offered: number; readonly seconds: number };

async function syn({ stage, peer }: Standing, sources: string, seconds: number): Promise<Offered> {
  const { inside, gateway } = stage.network;
  const own = await must(inside, ['cat /sys/class/net/eth0/address']);
  const next = await must(gateway, ['cat /sys/class/net/lan0/address']);
  const args = ['eth0', own.trim(), next.trim(), peer.target.v4, sources, String(SYNS_PER_SECOND), String(seconds)];
  const ran = await inside.run(program('syn'), args, { deadlineMs: (seconds + 10) * 1000 });
  if (ran.code !== 0) throw new Error(ran.stderr);
  return JSON.parse(ran.stdout) as Offered;
}

type Counted = { readonly sessions: number; readonly locked: number };

/** Once everybody has reported: workers do each second, the guard every two. */
async function counted({ stage }: Standing): Promise<Counted> {
  const read = async (): Promise<Counted> => {
    const text = await must(stage.network.gateway, ['curl -sS --max-time 10 http://127.0.0.1:9125/metrics']);
    const sum = (of: RegExp): number => [...text.matchAll(of)].reduce((total, [, count]) => total + Number(count), 0);
    return {
      sessions: sum(/^postern_sessions_total\{.*\} (\d+)/gm),
      locked: sum(/^postern_refused_connections_total\{.*reason="locked"\} (\d+)/gm),
    };
  };
  let last = await read();
  for (const deadline = performance.now() + REPORTED_MS; performance.now() < deadline; ) {
    await sleep(REPORT_EVERY_MS);
    const now = await read();
    if (now.sessions === last.sessions && now.locked === last.locked) return now;
    last = now;
  }
  return last;
}

/** No more can be kept than is offered: what was late before is caught up on. */
function kept(rate: number, without: LoadResult, during: LoadResult): Kept {
  const most = rate > 0 ? rate : Number.POSITIVE_INFINITY;
  return { without: Math.min(without.rate, most), during: Math.min(during.rate, most) };
}

function share(all: readonly Kept[]): number {
  return median(all.map(({ without, during }) => during / without));
}

function percent(all: readonly Kept[]): string {
  const rate = (of: (one: Kept) => number): string => median(all.map(of)).toFixed(0);
  return `${(share(all) * 100).toFixed(1)} % (${rate(({ without }) => without)} → ${rate(({ during }) => during)}/s)`;
}

export function floodTable(rows: readonly (readonly string[])[]): string {
  return table(['', 'target', 'measured', ''], rows);
}
