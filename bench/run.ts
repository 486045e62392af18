/** npm run bench: Postern and its peers side by side. */
import { delimiter } from 'node:path';
import { parseArgs } from 'node:util';
import { about } from './machine.ts';
import { direct } from './peers/direct.ts';
import { haraka } from './peers/haraka.ts';
import { haproxy } from './peers/haproxy.ts';
import { naive } from './peers/naive.ts';
import type { PeerKind } from './peers/peer.ts';
import { postfix, postfixQueue } from './peers/postfix.ts';
import { postern } from './peers/postern.ts';
import { profile } from './profile.ts';
import { buildPrograms } from './programs.ts';
import { RESULTS, writeSection } from './report.ts';
import { REFERENCE, runRounds } from './rounds.ts';
import { measure, setUp, type Standing } from './sample.ts';
import { SCENARIOS } from './scenarios.ts';
import type { Family } from './stage.ts';
import { figureTable, type Measured, ratioTables, targetTable } from './tables.ts';

const PEERS: readonly PeerKind[] = [direct, haproxy, postern, postfix, postfixQueue, haraka, naive];
const QUICK = ['a', 'b', 'c', 'e', 'p', 'l'];

const PROFILE_S = 4;

const usage = `npm run bench -- [OPTIONS]
  --quick            few and short rounds, under 3 minutes in all
  --scenario a,b     only these of ${SCENARIOS.map(({ name }) => name).join(', ')}
  --peers x,y        besides postern and ${REFERENCE}: of ${PEERS.map(({ name }) => name).join(', ')}
  --rounds N         default 5; 2 when quick
  --seconds S        of one sample; default 2; 0.7 when quick
  --family v4|v6     default v4
  --profile          where the time goes, in a and c unless --scenario says otherwise
  --dry              print the tables, leave bench/RESULTS.md alone
`;

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    scenario: { type: 'string' },
    peers: { type: 'string' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    family: { type: 'string', default: 'v4' },
    profile: { type: 'boolean', default: false },
    dry: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

process.env['PATH'] = [process.env['PATH'], '/usr/sbin', '/sbin'].join(delimiter);
if (options.help) process.stdout.write(usage);
else if (options.profile) process.exitCode = await runProfiles();
else process.exitCode = await run();

async function runProfiles(): Promise<number> {
  buildPrograms();
  const texts = [`## Where the time goes\n\n${about([], `One run of ${PROFILE_S} s each`)}`];
  for (const scenario of chosenFrom(SCENARIOS, options.scenario ?? 'a,c')) {
    say(`profiling ${scenario.name}`);
    texts.push(await profile(scenario, { seconds: Number(options.seconds ?? PROFILE_S), family: 'v4' }));
  }
  const text = texts.join('\n\n');
  process.stdout.write(`${text}\n`);
  if (!options.dry) writeSection('profile', text);
  return 0;
}

async function run(): Promise<number> {
  const chosen = chosenFrom(SCENARIOS, options.scenario ?? (options.quick ? QUICK.join() : undefined));
  const peers = chosenFrom(PEERS, options.peers && `${options.peers},postern,${REFERENCE}`);
  const rounds = Number(options.rounds ?? (options.quick ? 2 : 5));
  const seconds = Number(options.seconds ?? (options.quick ? 0.7 : 2));
  const family = options.family as Family;
  buildPrograms();
  const standings: Standing[] = [];
  try {
    for (const kind of peers) {
      say(`starting ${kind.about}`);
      standings.push(await setUp(kind));
    }
    const header = about(standings, `${rounds} rounds of ${seconds} s${family === 'v6' ? ', IPv6' : ''}`);
    // What is compiled at first use is no part of a rate.
    for (const standing of standings) for (const name of ['a', 'b']) await warmUp(standing, name, seconds, family);
    const measured: Measured[] = [];
    for (const scenario of chosen) {
      const rows = await runRounds(standings, scenario, {
        rounds,
        seconds,
        family,
        referenceEach: !options.quick,
        say,
      });
      measured.push({ scenario, rows });
    }
    const ratios = `## Ratios\n\n${header}\n\n${targetTable(measured)}\n\n${ratioTables(measured)}`;
    const figures = `## Figures\n\n${figureTable(measured)}`;
    process.stdout.write(`${ratios}\n\n${figures}\n`);
    if (!options.dry) {
      if (options.quick) writeSection('quick', `${ratios}\n\n${figures}`.replaceAll(/^##+ /gm, '### Quick: '));
      else {
        writeSection('ratios', ratios);
        writeSection('figures', figures);
      }
      say(`written to ${RESULTS}`);
    }
    return 0;
  } finally {
    for (const standing of standings.toReversed()) await standing.close();
  }
}

async function warmUp(standing: Standing, name: string, seconds: number, family: Family): Promise<void> {
  const scenario = SCENARIOS.find((candidate) => candidate.name === name);
  if (!scenario) return;
  const { wrong } = await measure(standing, scenario, { seconds, family });
  if (wrong) say(`${standing.kind.name}, first run: ${wrong}`);
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
