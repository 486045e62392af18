/** Memory of idle sessions (d), and of large messages that a slow smarthost holds up. */
import { setTimeout as sleep } from 'node:timers/promises';
import { complaints, type LoadResult, loadArguments, program, Talker } from './programs.ts';
import type { PeerKind } from './peers/peer.ts';
import { startPostern } from './peers/postern.ts';
import { table } from './report.ts';
import { measure, type SampleOptions, setUp, type Standing } from './sample.ts';
import { scenarioNamed } from './scenarios.ts';
import { holds, megabytes } from './tables.ts';

const IDLE_SESSIONS = 5000;
/** for a collection of garbage to have its turn */
const SETTLE_MS = 3000;
const IDLE_AT_MOST_KB = 6;
const SLOW_CLIENTS = 100;
const SLOW_PEAK_AT_MOST = 300e6;
const SLOW_DEADLINE_MS = 180_000;

export type Idle = {
  readonly peer: string;
  readonly sessions: number;
  readonly kbEach: number;
  readonly wrong: string;
};

/** Anonymous memory of all processes of a freshly started peer for each session that has said EHLO and nothing more. */
export async function idleMemory(kind: PeerKind, options: SampleOptions): Promise<Idle> {
  const standing = await setUp(kind);
  try {
    const { stage, peer, cost } = standing;
    // What is made at the first session is no part of each.
    await measure(standing, scenarioNamed('a'), { ...options, seconds: 0.3 });
    await sleep(SETTLE_MS);
    const before = cost.memory().anonymousBytes;
    const wanted = kind.idleSessions ?? IDLE_SESSIONS;
    const args = loadArguments(peer.target[options.family], {
      mode: 'idle',
      connections: wanted,
      sources: stage.sources(options.family, 250),
    });
    const talker = new Talker(
      stage.network.inside.spawn(program('load'), args, { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    await talker.line(60_000);
    await sleep(SETTLE_MS);
    const after = cost.memory().anonymousBytes;
    await talker.end();
    const { idle } = JSON.parse(await talker.line()) as { idle: number };
    const result = await talker.line();
    return {
      peer: kind.name,
      sessions: idle,
      kbEach: (after - before) / 1024 / Math.max(1, idle),
      wrong: complaints(JSON.parse(result) as LoadResult),
    };
  } finally {
    await standing.close();
  }
}

/** 100 clients with 25 MB each at once, to a smarthost that reads 2 MB/s of each: the largest process's peak. */
export async function slowSmarthost(options: SampleOptions): Promise<string[]> {
  const standing: Standing = await setUp({
    name: 'postern',
    about: '',
    start: (stage) => startPostern(stage),
  });
  try {
    const { peakBytes, largestPeakBytes, load, wrong } = await measure(
      standing,
      {
        name: 'slow',
        about: '',
        load: {
          connections: SLOW_CLIENTS,
          count: SLOW_CLIENTS,
          size: 25e6,
          rcpt: 'slow2000@example.net',
          'timeout-ms': SLOW_DEADLINE_MS,
        },
        unit: 'MB/s',
        toEnd: true,
      },
      { ...options, seconds: 60 },
    );
    const { messages, errors } = load;
    const putOff = errors['body: 452'] ?? 0;
    return [
      'c: peak of the largest process, 100 clients × 25 MB at once, smarthost reads 2 MB/s of each',
      '< 300 MB',
      `${megabytes(largestPeakBytes)} MB (all processes ${megabytes(peakBytes)} MB); ${messages} delivered, ${putOff} put off with 452 since limits.body_total was used up${messages + putOff === SLOW_CLIENTS ? '' : `; ${wrong}`}`,
      holds(largestPeakBytes < SLOW_PEAK_AT_MOST && messages + putOff === SLOW_CLIENTS),
    ];
  } finally {
    await standing.close();
  }
}

export function memoryTables(idle: readonly Idle[], slow: readonly string[] | undefined): string {
  const rows = idle.map(({ peer, sessions, kbEach, wrong }) => [
    peer,
    String(sessions),
    kbEach.toFixed(1),
    wrong || '-',
  ]);
  const own = idle.find(({ peer }) => peer === 'postern');
  const targets = [
    ...(own
      ? [
          [
            'd: user memory of an idle session',
            `≤ ${IDLE_AT_MOST_KB} KB`,
            `${own.kbEach.toFixed(1)} KB`,
            holds(own.kbEach <= IDLE_AT_MOST_KB),
          ],
        ]
      : []),
    ...(slow ? [slow] : []),
  ];
  return [
    table(['', 'target', 'measured', ''], targets),
    'Idle after EHLO, freshly started, anonymous memory of all processes:',
    table(['peer', 'sessions', 'KB each', 'went wrong'], rows),
  ].join('\n\n');
}
