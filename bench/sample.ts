/** A peer on its stage, and one measurement of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Cost } from './cost.ts';
import type { Peer, PeerKind } from './peers/peer.ts';
import { complaints, type LoadResult, load } from './programs.ts';
import type { Scenario } from './scenarios.ts';
import { type Family, openStage, type Stage } from './stage.ts';

export type Standing = {
  readonly kind: PeerKind;
  readonly stage: Stage;
  readonly peer: Peer;
  readonly cost: Cost;
  readonly close: () => Promise<void>;
};

export type Sample = {
  /** in the scenario's unit */
  readonly rate: number;
  readonly cpuMsPerMessage: number;
  readonly peakBytes: number;
  readonly largestPeakBytes: number;
  readonly load: LoadResult;
  /** what went wrong, in words; empty when nothing did */
  readonly wrong: string;
};

export type SampleOptions = {
  readonly seconds: number;
  readonly family: Family;
  /** hosts that the sessions come from in turn; default 250 */
  readonly sources?: number;
};

const SOURCES = 250;
const DRAIN_MS = 120_000;
/** a queue is given so many messages and timed until they are all through */
const QUEUED_MESSAGES = 1000;

export async function setUp(kind: PeerKind): Promise<Standing> {
  const stage = await openStage();
  let peer: Peer | undefined;
  const close = async (): Promise<void> => {
    await peer?.close();
    await stage.close();
  };
  try {
    peer = await kind.start(stage);
    const cost = new Cost(stage.network.gateway.name);
    return {
      kind,
      stage,
      peer,
      cost,
      close: async () => {
        await close();
        cost.close();
      },
    };
  } catch (error) {
    await close();
    throw new Error(`${kind.name} does not start: ${(error as Error).message}`, { cause: error });
  }
}

export async function measure(standing: Standing, scenario: Scenario, options: SampleOptions): Promise<Sample> {
  const { stage, peer, cost, kind } = standing;
  const seconds = options.seconds * (scenario.longer ?? 1);
  const queued = kind.queues && scenario.load.mode !== 'reject';
  const before = await stage.sink.counts();
  cost.resetPeaks();
  const cpuBefore = cost.cpuSeconds();
  const began = performance.now();
  const result = await load(stage.network.inside, peer.target[options.family], {
    ...scenario.load,
    sources: stage.sources(options.family, options.sources ?? SOURCES),
    seconds,
    warmup: queued ? 0 : seconds / 10,
    ...(queued && { count: countFor(scenario), seconds: 60 }),
  });
  const expected = scenario.load.mode === 'reject' ? 0 : result.messages;
  const arrived = (await untilArrived(stage, before.messages + expected)) - before.messages;
  const tookSeconds = (performance.now() - began) / 1000;
  const cpuSeconds = cost.cpuSeconds() - cpuBefore;
  const { peakBytes, largestPeakBytes } = cost.memory();
  const perSecond = queued ? arrived / tookSeconds : scenario.toEnd ? result.rateToEnd : result.rate;
  const scale = scenario.unit === 'MB/s' ? result.messageBytes / 1e6 : 1;
  const lost = Math.max(0, expected - arrived);
  return {
    rate: perSecond * scale,
    cpuMsPerMessage: (cpuSeconds * 1000) / Math.max(1, result.messages),
    peakBytes,
    largestPeakBytes,
    load: result,
    wrong: [complaints(result), lost > 0 && `${lost} accepted messages are not at the sink`].filter(Boolean).join(', '),
  };
}

function countFor({ load: { messages = 1, size = 0 } }: Scenario): number {
  return Math.max(4, Math.round(size > 1e6 ? 40 : QUEUED_MESSAGES / messages));
}

/** The sink's count once it has reached this, or when the time is up. */
async function untilArrived({ sink }: Stage, wanted: number): Promise<number> {
  const deadline = performance.now() + DRAIN_MS;
  for (;;) {
    const { messages } = await sink.counts();
    if (messages >= wanted || performance.now() > deadline) return messages;
    await sleep(20);
  }
}
