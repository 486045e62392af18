/** Many hosts through every limit at once: what is counted is what they saw. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { identitySubject } from '../../src/identity/limits.ts';
import { runPaths } from '../../src/kit/run-dir.ts';
import { PLACES } from '../../src/lab/network.ts';
import { askKeeper } from '../../src/ledger/ask.ts';
import type { Count } from '../../src/ledger/counters.ts';
import type { TopRow } from '../../src/record/query.ts';
import { count, needsRoot, seed } from '../kit/tier.ts';
import { until } from '../kit/wait.ts';
import { startWhole, type Whole } from '../kit/whole.ts';

const HOSTS = fileURLToPath(new URL('../kit/hosts-main.ts', import.meta.url));
const SECONDS = count(4, 30);
/** of each host at least, however slow the machine is */
const CONNECTIONS = count(12, 60);
const TIMES = count(1, 5);
const SOURCES = Array.from({ length: 100 }, (_, i) => `198.51.100.${i + 20}`);

/** Longer than any run, so that nothing is forgotten before it is compared; the minute's are met first, and let go again. */
const NETWORK = `max_connections = 2
limit_connections = ["${8 * TIMES}/day", "400/minute"]
limit_messages = ["${12 * TIMES}/day", "60/minute"]
limit_recipients = ["${20 * TIMES}/week"]
limit_bytes = ["${6 * TIMES}KiB/day"]
limit_domains = ["7/day"]
limit_senders = ["9/month"]
limit_unknown = ["${4 * TIMES}/day"]
identity = ["header X-AuthUser"]
identity_limit_messages = ["${4 * TIMES}/day"]
identity_limit_recipients = ["${7 * TIMES}/day"]
identity_limit_bytes = ["1MiB/day"]
`;

type Seen = Readonly<Record<'connections' | 'messages' | 'recipients' | 'bytes' | 'unknown', number>> & {
  readonly source: string;
  readonly domains: number;
  readonly senders: number;
  readonly identities: Readonly<Record<string, Readonly<Record<'messages' | 'recipients' | 'bytes', number>>>>;
  readonly refused: Readonly<Record<string, number>>;
};

describe(`Shows 2: 100 hosts for ${SECONDS} s through every limit at once`, { skip: needsRoot }, () => {
  let whole: Whole;
  before(async () => {
    whole = await startWhole({ tables: { network: NETWORK }, hosts: SOURCES });
  });
  after(() => whole.close());

  test('counters equal what the clients saw, to the message', { timeout: 300_000 }, async (t) => {
    const args = [HOSTS, PLACES.direct.v4, String(SECONDS), String(CONNECTIONS), String(seed), ...SOURCES];
    const { stdout, stderr } = await whole.network.inside.run(process.execPath, args, { deadlineMs: 200_000 });
    assert.equal(stderr, '');
    const seen = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Seen);
    const messages = seen.reduce((sum, one) => sum + one.messages, 0);
    await until(() => whole.taken.length === messages, `the smarthost has ${messages}`, 60_000);

    const keeper = runPaths(`${whole.directory}/run`).keeperSocket;
    const used = async (subject: string): Promise<Record<string, number>> => {
      const counts = (await askKeeper(keeper, { of: 'counters', subject })) as readonly Count[];
      return Object.fromEntries(counts.filter(({ period }) => period !== 'minute').map((one) => [one.unit, one.used]));
    };
    for (const { source, identities, refused: _, ...counts } of seen) {
      const expected = Object.fromEntries(Object.entries(counts).filter(([, many]) => many > 0));
      assert.deepEqual(sorted(await used(source)), sorted(expected), source);
      for (const [who, own] of Object.entries(identities))
        assert.deepEqual(sorted(await used(identitySubject(source, who))), sorted(own), `${who} at ${source}`);
    }

    // And the journal says the same.
    const question = { by: 'source', since: 0, limit: 1000 } as const;
    const accepted = (rows: readonly TopRow[]): number => rows.reduce((sum, row) => sum + row.accepted, 0);
    const top = async (): Promise<readonly TopRow[]> =>
      (await askKeeper(keeper, { of: 'top', question })) as readonly TopRow[];
    while (accepted(await top()) < messages);

    const limits = 'connection-rate messages recipient-rate bytes domains senders unknown'.split(' ');
    const reached = limits.map((limit) => {
      const isOver = (what: string): boolean => what.endsWith(` limit.${limit}`);
      return [limit, seen.filter(({ refused }) => Object.keys(refused).some(isOver)).length] as const;
    });
    t.diagnostic(`${messages} messages; hosts over: ${reached.map((each) => each.join(' ')).join(', ')}`);
    for (const [limit, hosts] of reached) assert.ok(hosts > 0, `nobody was over ${limit}`);
  });
});

function sorted(counts: Readonly<Record<string, number>>): [string, number][] {
  return Object.entries(counts).sort(([a], [b]) => a.localeCompare(b));
}
