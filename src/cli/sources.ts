/** `postern sources` */
import { parseArgs } from 'node:util';
import { safeJson } from '../kit/log.ts';
import type { SourceRow } from '../record/query.ts';
import { ask, askHelp, askOptions, parseTime } from './ask.ts';
import { type Command, UsageError } from './command.ts';
import { bytes, table, time } from './show.ts';

const MAX_ROWS = 10_000;

export const command: Command = {
  name: 'sources',
  summary: 'list who sends on port 25, since when, how much, to how many domains, with what result',
  help: `Usage: postern sources [--since TIME] [--limit N] [--json] [--config FILE | --run-dir DIR]

Lists everybody who has sent through the gateway, who sends most first: the configured subscriber or the address, when it
was first and last seen since TIME, messages, recipients, octets, different domains of recipients, how many attempts were
accepted, put off and refused, and how many mode "enforce" would have refused. With mode "observe" for all it is the list
to look at before anything is enforced. Who is exempt, or refused by the kernel, is not in it: see "postern status".

  --since TIME    from then: ago such as 12h or 14d (default), or a time such as 2026-11-23T14:05Z
  --limit N       at most so many (default 100)
  --json          one JSON object a line
${askHelp}

Exit status: 0 found; 1 nothing found, or the journal cannot be read.

Example: postern sources --since 14d
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...askOptions,
        since: { type: 'string', default: '14d' },
        limit: { type: 'string', default: '100' },
        json: { type: 'boolean', default: false },
      },
    });
    const limit = Number(values.limit);
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_ROWS)
      throw new UsageError(`--limit is a number from 1 to ${MAX_ROWS}, not "${values.limit}"`);
    const question = { since: parseTime('--since', values.since, Date.now()), limit };
    const rows = (await ask('sources', values, { of: 'sources', question }, io)) as readonly SourceRow[] | undefined;
    if (rows === undefined) return 1;
    if (rows.length === 0) io.err('nothing found');
    else if (values.json) for (const row of rows) io.out(safeJson(row));
    else io.out(table(HEAD, rows.map(cells)));
    return rows.length > 0 ? 0 : 1;
  },
};

const HEAD = ['WHO', 'NETWORK', 'FIRST', 'LAST', 'MESSAGES', 'RECIPIENTS', 'SIZE', 'DOMAINS', 'ACCEPTED', 'PUT OFF'];
HEAD.push('REFUSED', 'WOULD BE');

function cells(row: SourceRow): string[] {
  const { who, network, first, last, messages, recipients, domains, accepted, deferred, rejected, wouldBe } = row;
  const counts = [domains, accepted, deferred, rejected, wouldBe].map(String);
  return [who, network, time(first), time(last), String(messages), String(recipients), bytes(row.bytes), ...counts];
}
