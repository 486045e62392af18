import { parseArgs } from 'node:util';
import { safeJson } from '../kit/log.ts';
import type { Complaint } from '../ledger/complaints.ts';
import { ask, askHelp, askOptions } from './ask.ts';
import { type Command, UsageError } from './command.ts';
import { table, time } from './show.ts';

const MAX_ROWS = 10_000;

export const command: Command = {
  name: 'complaints',
  summary: 'list complaints about mail from here, and the message of each',
  help: `Usage: postern complaints [--id ID] [--limit N] [--json] [--config FILE | --run-dir DIR]

Lists complaints that have come in, newest first: what about, from where the message came, how it was found (our own
id, its Message-ID, or address, time and sender), and whether it counts towards rules. "postern explain ID" tells the
message's story.

  --id ID         about this message
  --limit N       at most so many (default 50)
  --json          one JSON object a line
${askHelp}

Exit status: 0 found; 1 nothing found.

Example: postern complaints --limit 20
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...askOptions,
        id: { type: 'string' },
        limit: { type: 'string', default: '50' },
        json: { type: 'boolean', default: false },
      },
    });
    const limit = Number(values.limit);
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_ROWS)
      throw new UsageError(`--limit is a number from 1 to ${MAX_ROWS}, not "${values.limit}"`);
    const { id } = values;
    const question = { of: 'complaints', limit, ...(id !== undefined && { id }) } as const;
    const rows = (await ask('complaints', values, question, io)) as readonly Complaint[] | undefined;
    if (rows === undefined) return 1;
    if (values.json) for (const row of rows) io.out(safeJson(row));
    else if (rows.length > 0)
      io.out(table(['TIME', 'TYPE', 'SOURCE', 'SUBSCRIBER', 'MESSAGE', 'FOUND BY', 'COUNTS'], rows.map(cells)));
    if (rows.length === 0) io.err('no complaint has come in');
    return rows.length > 0 ? 0 : 1;
  },
};

function cells({ at, type, source, subscriber, id, how, counts }: Complaint): string[] {
  return [time(at), type, source ?? '-', subscriber ?? '-', id ?? '-', how ?? '(not found)', counts ? 'yes' : 'no'];
}
