import { parseArgs } from 'node:util';
import { canonical, parsePrefix } from '../kit/address.ts';
import { safeJson } from '../kit/log.ts';
import { classes, isClass } from '../policy/classes.ts';
import type { Attempt } from '../record/events.ts';
import { type LogAnswer, type LogFilter, MAX_LOG_ROWS } from '../record/query.ts';
import { ask, askHelp, askOptions, parseTime, whoAmI } from './ask.ts';
import { type Command, UsageError } from './command.ts';
import { cut, table, time } from './show.ts';

const DEFAULT_LIMIT = 50;

export const command: Command = {
  name: 'log',
  summary: 'search the journal of attempts',
  help: `Usage: postern log [FILTERS] [--limit N] [--json] [--config FILE | --run-dir DIR]

Shows attempts to send a message, newest first. All filters that are given must hold.

  --since TIME         from then: ago such as 2h or 3d, or a time such as 2026-11-23T14:05Z
  --until TIME         before then
  --source ADDRESS     of the host; a prefix such as 198.51.100.0/24 is understood too
  --subscriber NAME    of all addresses of a configured subscriber
  --tenant NAME        of all hosts that belonged to it at that time (setting "tenant")
  --identity WHO       who it was behind a subscriber (setting "identity")
  --sender ADDRESS     of the envelope, whole; "<>" is the null sender. Found under its hash too (log = "hash")
  --recipient ADDRESS  one of the recipients
  --class CLASS        why it ended so ("postern classes" lists them); "spam" is all of spam.*
  --id ID              of a transaction or of a session, as it stands in a reply
  --message-id ID      its Message-ID, whole, with its brackets
  --limit N            at most so many (default ${DEFAULT_LIMIT}, at most ${MAX_LOG_ROWS})
  --json               one JSON object a line, with everything
${askHelp}

Exit status: 0 found; 1 nothing found, or the journal cannot be read.

Examples: postern log --since 2h --source 198.51.100.7
          postern log --class spam --json | jq -r .sender | sort | uniq -c
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...askOptions,
        since: { type: 'string' },
        until: { type: 'string' },
        source: { type: 'string' },
        subscriber: { type: 'string' },
        tenant: { type: 'string' },
        identity: { type: 'string' },
        sender: { type: 'string' },
        recipient: { type: 'string' },
        class: { type: 'string' },
        id: { type: 'string' },
        'message-id': { type: 'string' },
        limit: { type: 'string', default: String(DEFAULT_LIMIT) },
        json: { type: 'boolean', default: false },
      },
    });
    const filter = filterOf({ ...values, messageId: values['message-id'] }, Date.now());
    const answer = (await ask('log', values, { of: 'log', filter, who: whoAmI() }, io)) as LogAnswer | undefined;
    if (answer === undefined) return 1;
    if (values.json)
      for (const attempt of answer.rows) io.out(safeJson({ time: new Date(attempt.at).toISOString(), ...attempt }));
    else if (answer.rows.length > 0) io.out(logTable(answer.rows));
    if (answer.rows.length === 0) io.err('nothing found');
    else if (answer.more)
      io.err(`only the newest ${answer.rows.length} are shown; there are more: --limit, or a narrower filter`);
    return answer.rows.length > 0 ? 0 : 1;
  },
};

type Given = { readonly [K in Exclude<keyof LogFilter, 'limit'>]?: string | undefined } & { readonly limit: string };

/** The question that the options mean. Throws UsageError. */
export function filterOf(given: Given, nowMs: number): LogFilter {
  const limit = Number(given.limit);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LOG_ROWS)
    throw new UsageError(`--limit is a number from 1 to ${MAX_LOG_ROWS}, not "${given.limit}"`);
  const { since, until, source, subscriber, tenant, identity, sender, recipient, class: of, id, messageId } = given;
  if (source !== undefined && canonical(source) === undefined && parsePrefix(source) === undefined)
    throw new UsageError(
      `--source is an address or a prefix such as 198.51.100.0/24 (without host bits), not "${source}"`,
    );
  if (of !== undefined && !isClass(of) && !Object.keys(classes).some((name) => name.startsWith(`${of}.`)))
    throw new UsageError(`there is no class "${of}"; "postern classes" lists all`);
  return {
    ...(since !== undefined && { since: parseTime('--since', since, nowMs) }),
    ...(until !== undefined && { until: parseTime('--until', until, nowMs) }),
    ...(source !== undefined && { source }),
    ...(subscriber !== undefined && { subscriber }),
    ...(tenant !== undefined && { tenant }),
    ...(identity !== undefined && { identity }),
    ...(sender !== undefined && { sender }),
    ...(recipient !== undefined && { recipient }),
    ...(of !== undefined && { class: of }),
    ...(id !== undefined && { id }),
    ...(messageId !== undefined && { messageId }),
    limit,
  };
}

export function logTable(rows: readonly Attempt[]): string {
  return table(
    ['TIME', 'ID', 'SOURCE', 'SENDER', 'RECIPIENT', 'VERDICT', 'CLASS'],
    rows.map((row) => [
      time(row.at),
      row.id,
      row.source,
      cut(row.sender === undefined ? '-' : address(row.sender), 40),
      cut(recipients(row), 44),
      row.verdict,
      row.wouldBe === undefined ? row.class : `${row.class} (would be ${row.wouldBe})`,
    ]),
  );
}

/** An address, or what is kept of it. */
export function address(kept: string): string {
  return kept === '' ? '(not kept)' : kept;
}

function recipients({ recipients: all, recipientsOmitted = 0 }: Attempt): string {
  const [first] = all;
  if (!first) return '-';
  const more = all.length - 1 + recipientsOmitted;
  return `${cut(address(first.recipient), 36)}${more > 0 ? ` +${more}` : ''}`;
}
