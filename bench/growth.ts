/** What a message costs as things grow: it must stay level. Each size in turn, round by round. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { migrate } from '../src/record/schema.ts';
import type { Cost } from './cost.ts';
import { type PosternOptions, startPostern } from './peers/postern.ts';
import { table } from './report.ts';
import { measure, type Sample, type SampleOptions, setUp, type Standing } from './sample.ts';
import { scenarioNamed } from './scenarios.ts';
import { median, spread } from './statistics.ts';
import { holds, withSpread } from './tables.ts';

const LEVEL_AT_MOST = 1.15;
/** what identities, limits and locks may add to a message that none of them stops */
const RULES_AT_MOST = 1.1;
/** The first samples are so many times longer: code is compiled, and every source has been seen by every worker. */
const WARM_UP = 8;
const SETTLED_SHARE = 0.2;
const SETTLE_SECONDS = 180;
/** as many as there can be at a time */
const LOCKS = 10_000;
const DAY_MS = 86_400_000;
const JOURNAL_LIMIT = 'max_size = "64GiB"';

/** Each unit in short and long periods, none of them reached. */
const RULES = `limit_connections = ["1000000/minute", "100000000/day"]
limit_messages = ["1000000/minute", "100000000/day"]
limit_recipients = ["1000000/hour", "100000000/week"]
limit_bytes = ["10000GiB/day"]
limit_domains = ["100000/day"]
limit_senders = ["100000/day"]
limit_unknown = ["100000/day"]
identity = ["header X-AuthUser", "header X-PHP-Originating-Script ^(.*?)\\\\(", "sender"]
identity_limit_messages = ["1000000/hour", "100000000/day"]
identity_limit_recipients = ["100000000/day"]
`;
const LOCK_RULES = `[[lock_rule]]
name = "spam-run"
classes = ["spam", "limit.unknown"]
count = 25
within = "1h"
`;

export type GrowthOptions = SampleOptions & {
  readonly rounds: number;
  readonly journalRows: number;
  readonly say: (text: string) => void;
};

type Size = { readonly name: string; readonly postern: PosternOptions; readonly sources?: number };
type Growth = {
  readonly about: string;
  readonly small: Size;
  readonly large: Size;
  readonly free?: true;
  /** default "a" */
  readonly scenario?: 'a' | 'b';
  /** default LEVEL_AT_MOST */
  readonly atMost?: number;
};

function growths(journalRows: number): Growth[] {
  const prefixes = (count: number): Size => ({
    name: `${count} prefixes`,
    postern: { morePrefixes: Array.from({ length: count }, (_, i) => otherPrefix(i)) },
  });
  const locks = (count: number): Size => ({
    name: `${count} locks`,
    postern: { prepare: (stateDir) => writeLocks(stateDir, count) },
  });
  const rows = (count: number): Size => ({
    name: `10^${Math.log10(count)} rows`,
    postern: { prepare: (stateDir) => writeJournal(stateDir, count), tables: { journal: JOURNAL_LIMIT } },
  });
  const none: Size = { name: 'nothing limited', postern: {} };
  const rules: Size = {
    name: 'all of them',
    postern: { tables: { network: RULES, more: LOCK_RULES }, prepare: (stateDir) => writeLocks(stateDir, LOCKS) },
  };
  const cost = `identity, limits of each unit and ${LOCKS} locks, at most ${RULES_AT_MOST}`;
  return [
    { about: `a: ${cost}`, small: none, large: rules, atMost: RULES_AT_MOST },
    { about: `b: ${cost}`, small: none, large: rules, atMost: RULES_AT_MOST, scenario: 'b' },
    {
      about: 'workers: rate (the machine is shared with generator and sink)',
      small: { name: '1 worker', postern: { workers: 1 } },
      large: { name: '2 workers', postern: { workers: 2 } },
      free: true,
    },
    {
      about: 'sources',
      small: { name: '100 sources', postern: {}, sources: 100 },
      large: { name: '10000 sources', postern: {}, sources: 10_000 },
    },
    { about: 'prefixes of networks', small: prefixes(10), large: prefixes(100_000) },
    { about: 'locked entries', small: locks(1), large: locks(LOCKS) },
    { about: 'rows in the journal', small: rows(10_000), large: rows(journalRows) },
  ];
}

export async function growthTable(options: GrowthOptions): Promise<string> {
  const rows: string[][] = [];
  for (const growth of growths(options.journalRows)) {
    options.say(`growth of ${growth.about}`);
    const row = await compare(growth, options).catch((error: unknown) => [
      growth.about,
      growth.small.name,
      growth.large.name,
      (error as Error).message.split('\n', 1)[0] ?? '',
      '**not measured**',
    ]);
    options.say(row.join(', '));
    rows.push(row);
  }
  return table(['', 'small', 'large', 'large to small', `≤ ${LEVEL_AT_MOST}, or as it says`], rows);
}

async function compare(
  { about, small, large, free, scenario = 'a', atMost = LEVEL_AT_MOST }: Growth,
  options: GrowthOptions,
): Promise<string[]> {
  const first = await standing(small);
  let second: Standing | undefined;
  try {
    second = await standing(large);
    for (const { cost } of [first, second]) await settled(cost);
    const samples: [Sample[], Sample[]] = [[], []];
    const once = async (of: Standing, { sources = 250 }: Size, times = 1): Promise<Sample> => {
      const seconds = options.seconds * times;
      const sample = await measure(of, scenarioNamed(scenario), { ...options, seconds, family: 'v6', sources });
      if (sample.wrong) throw new Error(`${about}: ${sample.wrong}`);
      return sample;
    };
    for (let round = -1; round < options.rounds; round++) {
      const times = round < 0 ? WARM_UP : 1;
      const pair = [await once(first, small, times), await once(second, large, times)] as const;
      if (round >= 0) pair.forEach((sample, i) => samples[i]?.push(sample));
    }
    const value = ({ rate, cpuMsPerMessage }: Sample): number => (free ? rate : cpuMsPerMessage);
    const unit = free ? ' msg/s' : ' ms/msg';
    const ratio = spread(samples[0].map((sample, i) => value(samples[1][i] as Sample) / value(sample)));
    const shown = (of: readonly Sample[]): string => `${median(of.map(value)).toFixed(free ? 0 : 3)}${unit}`;
    return [
      about,
      `${small.name}: ${shown(samples[0])}`,
      `${large.name}: ${shown(samples[1])}`,
      withSpread(ratio),
      free ? '-' : holds(ratio.median <= atMost),
    ];
  } finally {
    await first.close();
    await second?.close();
  }
}

function standing({ postern }: Size): Promise<Standing> {
  return setUp({ name: 'postern', about: '', start: (stage) => startPostern(stage, postern) });
}

/** What a start does once, such as a look through the whole journal for damage, is no cost of a message. */
async function settled(cost: Cost): Promise<void> {
  for (let second = 0; second < SETTLE_SECONDS; second++) {
    const before = cost.cpuSeconds();
    await sleep(1000);
    if (cost.cpuSeconds() - before < SETTLED_SHARE) return;
  }
}

/** A /64 that nobody here sends from. */
function otherPrefix(i: number): string {
  return `2001:db8:${(0x4000 + (i >> 12)).toString(16)}:${(i & 0xfff).toString(16)}::/64`;
}

/** Half of them for the kernel, half by reply. */
function writeLocks(stateDir: string, count: number): void {
  const locks = Array.from({ length: count }, (_, i) => ({
    subject: otherPrefix(i).replace(':0::/64', '::/64'),
    how: i % 2 === 0 ? 'kernel' : 'reject',
    reason: 'bench',
    who: 'bench',
    since: Date.now(),
  }));
  writeFileSync(join(stateDir, 'locks.json'), JSON.stringify({ version: 1, locks }));
}

/** Attempts of the last 30 days, one recipient each. The indexes are made after the rows: that is several times faster. */
function writeJournal(stateDir: string, count: number): void {
  const database = new DatabaseSync(join(stateDir, 'journal.db'));
  database.exec('PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF');
  database.exec('PRAGMA cache_size = -500000');
  migrate(database);
  const indexes = database
    .prepare("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    .all();
  for (const { name } of indexes) database.exec(`DROP INDEX ${String(name)}`);
  const first = Date.now() - 30 * DAY_MS;
  const all = `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ${count})`;
  database.exec(`${all} INSERT INTO attempts (n, at, id, session, worker, network, mode, source, source_key, source_port, destination,
      destination_port, helo, esmtp, sender, omitted, size, verdict, class, would_be, reply, egress, upstream,
      upstream_reply, findings, verdict_ms, relay_ms, total_ms)
    SELECT n, ${first} + CAST(n * ${(30 * DAY_MS) / count} AS INTEGER), printf('%016x', n), printf('%016x', n / 2), 1 + n % 2, 'customers', 'enforce',
      '198.51.100.' || (n % 100), CAST(printf('%08x', n) AS BLOB), 1024 + n % 60000, '203.0.113.25', 25, 'host.example.org', 1,
      'sender' || (n % 5000) || '@example.org', 0, 4096.0, 'accept', 'ok.accepted', NULL, '250 2.0.0 Ok', 'smarthost',
      '203.0.113.87:587', '250 2.0.0 Ok: taken', NULL, 0.5, 1.5, 3.0 FROM c`);
  database.exec(
    `${all} INSERT INTO recipients SELECT n, 0, 'someone' || (n % 50000) || '@example.net', 250, 'ok.accepted' FROM c`,
  );
  for (const { sql } of indexes) database.exec(String(sql));
  database.close();
}
