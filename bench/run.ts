/** npm run bench: Postern and its peers side by side; what was measured goes into RESULTS.md. */
import { delimiter } from 'node:path';
import { parseArgs } from 'node:util';
import { floods, floodTable } from './floods.ts';
import { growthTable } from './growth.ts';
import { addedLatency, latencyTables } from './latency.ts';
import { about } from './machine.ts';
import { idleMemory, memoryTables, slowSmarthost } from './memory.ts';
import { direct } from './peers/direct.ts';
import { haproxy, haproxyKept, haproxyTproxy } from './peers/haproxy.ts';
import { haraka } from './peers/haraka.ts';
import { naive } from './peers/naive.ts';
import type { PeerKind } from './peers/peer.ts';
import { postfix, postfixQueue } from './peers/postfix.ts';
import { postern, posternKept } from './peers/postern.ts';
import { profile } from './profile.ts';
import { buildPrograms } from './programs.ts';
import { RESULTS, type Section, writeSection } from './report.ts';
import { REFERENCE, runRounds } from './rounds.ts';
import { measure, type SampleOptions, setUp, type Standing } from './sample.ts';
import { KEPT, SCENARIOS, scenarioNamed } from './scenarios.ts';
import type { Family } from './stage.ts';
import { median } from './statistics.ts';
import { tlsTables } from './tls.ts';
import { figureTable, type Measured, ratioTables, targetTable } from './tables.ts';

const PEERS: readonly PeerKind[] = [direct, haproxy, haproxyTproxy, postern, postfix, postfixQueue, haraka, naive];
const PARTS = ['ratios', 'preserve', 'latency', 'memory', 'floods', 'growth', 'profile', 'tls'] as const;
const USUAL = 'ratios,preserve,tls,latency,memory,floods';
/** What fits into 3 minutes. */
const USUAL_QUICK = 'ratios,latency,memory,floods';
const QUICK = { scenarios: 'a,b,c,e,p,l', peers: 'direct,postfix,haraka', few: ['haproxy', 'postern'] };
const PROFILE = { scenarios: 'a,c', seconds: 4 };
const WARM_UP_SECONDS = 3;
const ALWAYS = `direct,postern,${REFERENCE}`;

const usage = `npm run bench -- [OPTIONS]
  --quick            few and short rounds, under 3 minutes in all
  --part x,y         of ${PARTS.join(', ')}; default ${USUAL}
  --scenario a,b     of ${SCENARIOS.map(({ name }) => name).join(', ')}; then only ratios, unless --part says otherwise
  --peers x,y        besides ${ALWAYS}: of ${PEERS.map(({ name }) => name).join(', ')}
  --rounds N         default 5; 2 when quick
  --seconds S        of one sample; default 2; 0.7 when quick
  --family v4|v6     default v4
  --profile          --part profile: where the time goes, in ${PROFILE.scenarios} unless --scenario says otherwise
  --growth           --part growth: cost of a message as things grow
  --dry              print the tables, leave bench/RESULTS.md alone
`;

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    part: { type: 'string' },
    scenario: { type: 'string' },
    peers: { type: 'string' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    family: { type: 'string', default: 'v4' },
    profile: { type: 'boolean', default: false },
    growth: { type: 'boolean', default: false },
    dry: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const { quick } = options;
const rounds = Number(options.rounds ?? (quick ? 2 : 5));
const sampling: SampleOptions = {
  seconds: Number(options.seconds ?? (quick ? 0.7 : 2)),
  family: options.family as Family,
};
const how = `${rounds} rounds of ${sampling.seconds} s${options.family === 'v6' ? ', IPv6' : ''}`;

if (options.help) process.stdout.write(usage);
else await run();

async function run(): Promise<void> {
  process.env['PATH'] = [process.env['PATH'], '/usr/sbin', '/sbin'].join(delimiter);
  const wanted = options.profile
    ? 'profile'
    : options.growth
      ? 'growth'
      : options.scenario
        ? 'ratios'
        : quick
          ? USUAL_QUICK
          : USUAL;
  const parts = new Set(
    chosenFrom(
      PARTS.map((name) => ({ name })),
      options.part ?? wanted,
    ).map(({ name }) => name),
  );
  buildPrograms();
  let highestRate: number | undefined;
  if (parts.has('ratios') || parts.has('latency')) highestRate = await sideBySide(parts);
  if (parts.has('preserve')) await preserve();
  if (parts.has('tls')) await withTls();
  if (parts.has('memory')) await memory();
  if (parts.has('floods')) await flooded(highestRate);
  if (parts.has('growth')) await grown();
  if (parts.has('profile')) await profiled();
}

/** Resolves with Postern's highest rate of single messages. */
async function sideBySide(parts: ReadonlySet<string>): Promise<number> {
  const peers = options.peers ?? (quick ? QUICK.peers : undefined);
  const kinds = chosenFrom(PEERS, peers && `${peers},${ALWAYS}`);
  const standings: Standing[] = [];
  try {
    for (const kind of kinds) {
      say(`starting ${kind.about}`);
      standings.push(await setUp(kind));
    }
    const header = about(standings, how);
    // What is compiled at first use is no part of a rate: it takes some ten thousand messages until it is.
    const highest = new Map<string, number>();
    for (const standing of standings) {
      await warmUp(standing, 'b', WARM_UP_SECONDS);
      highest.set(standing.kind.name, (await warmUp(standing, 'a')).rate);
    }
    const measured = parts.has('ratios') ? await ratios(standings) : [];
    for (const { scenario, rows } of measured)
      if (scenario.name === 'a')
        for (const { peer, samples } of rows) highest.set(peer, median(samples.map((s) => s.rate)));
    if (measured.length > 0) {
      publish('ratios', `## Ratios\n\n${header}\n\n${targetTable(measured)}\n\n${ratioTables(measured)}`);
      publish('figures', `## Figures\n\n${figureTable(measured)}`);
    }
    if (parts.has('latency')) await latency(standings, measured, highest, header);
    return highest.get('postern') ?? 0;
  } finally {
    for (const standing of standings.toReversed()) await standing.close();
  }
}

async function ratios(standings: readonly Standing[]): Promise<Measured[]> {
  const measured: Measured[] = [];
  for (const scenario of chosenFrom(SCENARIOS, options.scenario ?? (quick ? QUICK.scenarios : undefined))) {
    const rows = await runRounds(standings, scenario, { ...sampling, rounds, referenceEach: !quick, say });
    measured.push({ scenario, rows });
  }
  return measured;
}

async function warmUp(
  standing: Standing,
  name: string,
  seconds = sampling.seconds,
): Promise<{ readonly rate: number }> {
  const sample = await measure(standing, scenarioNamed(name), { ...sampling, seconds });
  if (sample.wrong) say(`${standing.kind.name}, first run: ${sample.wrong}`);
  return sample;
}

async function latency(
  standings: readonly Standing[],
  measured: readonly Measured[],
  highest: ReadonlyMap<string, number>,
  header: string,
): Promise<void> {
  const single =
    measured.find(({ scenario }) => scenario.name === 'l')?.rows ??
    (await runRounds(standings, scenarioNamed('l'), { ...sampling, rounds, referenceEach: false, say }));
  const ceiling = standings.find(({ kind }) => kind.name === 'direct');
  const added = [];
  for (const standing of standings) {
    const rate = highest.get(standing.kind.name) ?? 0;
    if (!ceiling || standing === ceiling || standing.kind.queues || rate === 0) continue;
    if (quick && !QUICK.few.includes(standing.kind.name)) continue;
    say(`latency that ${standing.kind.name} adds at half of ${rate.toFixed(0)}/s`);
    added.push(await addedLatency(standing, ceiling, rate, { ...sampling, rounds }));
  }
  publish('latency', `## Latency\n\n${header}\n\n${latencyTables(added, single)}`);
}

/** Peers of its own under the usual names: what stands for HAProxy here keeps the source address as well. */
async function preserve(): Promise<void> {
  const standings: Standing[] = [];
  try {
    for (const kind of [haproxyKept, posternKept, postfix]) {
      say(`starting ${kind.about}`);
      standings.push(await setUp(kind));
    }
    for (const standing of standings) await measure(standing, KEPT, { ...sampling, seconds: WARM_UP_SECONDS });
    const rows = await runRounds(standings, KEPT, { ...sampling, rounds, referenceEach: true, say });
    const measured = [{ scenario: KEPT, rows }];
    publish(
      'preserve',
      `## The source address kept\n\n${about(standings, how)}\n\n${targetTable(measured)}\n\n${ratioTables(measured)}\n\n${figureTable(measured)}`,
    );
  } finally {
    for (const standing of standings.toReversed()) await standing.close();
  }
}

async function withTls(): Promise<void> {
  const { text, standings } = await tlsTables({ rounds, seconds: Math.max(2, sampling.seconds), say });
  publish('tls', `## TLS on both legs\n\n${about(standings, how)}\n\n${text}`);
}

async function memory(): Promise<void> {
  const idle = [];
  for (const kind of PEERS) {
    if (kind === direct || kind === haproxyTproxy || kind.queues || (quick && !QUICK.few.includes(kind.name))) continue;
    say(`idle sessions at ${kind.name}`);
    idle.push(await idleMemory(kind, sampling));
  }
  say('large messages and a slow smarthost');
  const slow = await slowSmarthost(sampling);
  publish('memory', `## Memory\n\n${about([], 'One run each')}\n\n${memoryTables(idle, slow)}`);
}

async function flooded(highestRate: number | undefined): Promise<void> {
  say('floods');
  const rate = highestRate ?? (await highestRateOfPostern());
  const rows = await floods({ ...sampling, rounds: quick ? 1 : 3, floodSeconds: quick ? 5 : 60, highestRate: rate });
  publish('floods', `## Floods\n\n${about([], 'Others send single messages')}\n\n${floodTable(rows)}`);
}

async function highestRateOfPostern(): Promise<number> {
  const standing = await setUp(postern);
  try {
    await warmUp(standing, 'a');
    return (await measure(standing, scenarioNamed('a'), sampling)).rate;
  } finally {
    await standing.close();
  }
}

async function grown(): Promise<void> {
  const text = await growthTable({ ...sampling, rounds, journalRows: quick ? 1e6 : 1e7, say });
  publish(
    'growth',
    `## As things grow\n\n${about([], how)} CPU of all processes for a message, scenario a, IPv6.\n\n${text}`,
  );
}

async function profiled(): Promise<void> {
  const seconds = Number(options.seconds ?? PROFILE.seconds);
  const texts = [`## Where the time goes\n\n${about([], `One run of ${seconds} s each`)}`];
  for (const scenario of chosenFrom([...SCENARIOS, KEPT], options.scenario ?? PROFILE.scenarios)) {
    say(`profiling ${scenario.name}`);
    texts.push(await profile(scenario, { ...sampling, seconds }));
  }
  publish('profile', texts.join('\n\n'));
}

/** Printed, and written to its place. What a quick run says stands apart, so that it never replaces a long one's. */
function publish(section: Section, text: string): void {
  process.stdout.write(`${text}\n\n`);
  if (options.dry) return;
  const isQuick = quick && section !== 'profile';
  writeSection(isQuick ? `quick-${section}` : section, isQuick ? text.replace(/^## /, '## Quick run: ') : text);
  say(`${RESULTS}: ${section}`);
}

function chosenFrom<T extends { readonly name: string }>(all: readonly T[], names: string | undefined): T[] {
  if (!names) return [...all];
  const wanted = new Set(names.split(','));
  const unknown = [...wanted].filter((name) => !all.some((one) => one.name === name));
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(', ')}\n${usage}`);
  return all.filter(({ name }) => wanted.has(name));
}

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}
