import { parseArgs } from 'node:util';
import { csvText } from '../kit/csv.ts';
import { safeJson } from '../kit/log.ts';
import { classes, isClass } from '../policy/classes.ts';
import { TOP_BY, type TopQuestion, type TopRow } from '../record/query.ts';
import { ask, askHelp, askOptions, parseTime, whoAmI } from './ask.ts';
import { type Command, UsageError } from './command.ts';
import { table, time } from './show.ts';

const MAX_ROWS = 10_000;

export const command: Command = {
  name: 'top',
  summary: 'show who sends most, or is refused most',
  help: `Usage: postern top [--by WHAT] [--since TIME] [--class CLASS] [--limit N] [--json | --csv] [--config FILE | --run-dir DIR]

Sums up the journal: attempts, how many were accepted, put off and refused, how many were spam, and how many
were connections carried unread (setting "verifying"). Most attempts first.

  --by WHAT       identity, subscriber (default; an address where none is configured), source, network, class or sender
  --since TIME    from then: ago such as 12h (default) or 3d, or a time such as 2026-11-23T14:05Z
  --class CLASS   only attempts that ended so; "spam" is all of spam.*
  --limit N       at most so many (default 50)
  --json          one JSON object a line
  --csv           with a head, for other programs
${askHelp}

Exit status: 0 found; 1 nothing found, or the journal cannot be read.

Examples: postern top --by identity --since 12h --class spam
          postern top --by subscriber --since 2h --csv
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...askOptions,
        by: { type: 'string', default: 'subscriber' },
        since: { type: 'string', default: '12h' },
        class: { type: 'string' },
        limit: { type: 'string', default: '50' },
        json: { type: 'boolean', default: false },
        csv: { type: 'boolean', default: false },
      },
    });
    const question = questionOf(values, Date.now());
    const rows = (await ask('top', values, { of: 'top', question, who: whoAmI() }, io)) as
      | readonly TopRow[]
      | undefined;
    if (rows === undefined) return 1;
    if (values.json) for (const row of rows) io.out(safeJson(row));
    else if (values.csv) io.out(csvText(HEAD, rows.map(cells)).replaceAll('\r\n', '\n').trimEnd());
    else if (rows.length > 0)
      io.out(
        table([question.by.toUpperCase(), ...HEAD.slice(1).map((one) => one.toUpperCase())], rows.map(shownCells)),
      );
    if (rows.length === 0) io.err('nothing found');
    return rows.length > 0 ? 0 : 1;
  },
};

const HEAD = ['who', 'attempts', 'accepted', 'deferred', 'rejected', 'spam', 'opaque', 'first', 'last'];

/** For people the part of all attempts stands beside the count. */
function shownCells(row: TopRow): string[] {
  const { attempts, opaque } = row;
  const share = opaque === 0 ? '0' : `${opaque} (${Math.ceil((100 * opaque) / attempts)}%)`;
  return cells(row).with(HEAD.indexOf('opaque'), share);
}

function cells({ who, attempts, accepted, deferred, rejected, spam, opaque, first, last }: TopRow): string[] {
  return [who, ...[attempts, accepted, deferred, rejected, spam, opaque].map(String), time(first), time(last)];
}

type Given = {
  readonly by: string;
  readonly since: string;
  readonly class?: string | undefined;
  readonly limit: string;
};

/** The question that the options mean. Throws UsageError. */
export function questionOf({ by, since, class: of, limit: given }: Given, nowMs: number): TopQuestion {
  const known = TOP_BY.find((one) => one === by);
  if (!known) throw new UsageError(`--by is one of ${TOP_BY.join(', ')}, not "${by}"`);
  const limit = Number(given);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_ROWS)
    throw new UsageError(`--limit is a number from 1 to ${MAX_ROWS}, not "${given}"`);
  if (of !== undefined && !isClass(of) && !Object.keys(classes).some((name) => name.startsWith(`${of}.`)))
    throw new UsageError(`there is no class "${of}"; "postern classes" lists all`);
  return { by: known, since: parseTime('--since', since, nowMs), ...(of !== undefined && { class: of }), limit };
}
