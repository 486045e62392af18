import { parseArgs } from 'node:util';
import { safeJson } from '../kit/log.ts';
import type { Lock } from '../ledger/language.ts';
import { ask, askHelp, askOptions } from './ask.ts';
import type { Command } from './command.ts';
import { table, time } from './show.ts';

export const command: Command = {
  name: 'locks',
  summary: 'list what is locked, by whom and why',
  help: `Usage: postern locks [--json] [--config FILE | --run-dir DIR]

Lists every lock in force, oldest first.

  --json          one JSON object a line
${askHelp}

Example: postern locks
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: { ...askOptions, json: { type: 'boolean', default: false } },
    });
    const locks = (await ask('locks', values, { of: 'locks' }, io)) as readonly Lock[] | undefined;
    if (locks === undefined) return 1;
    if (values.json) for (const lock of locks) io.out(safeJson(lock));
    else if (locks.length === 0) io.out('nothing is locked');
    else {
      io.out(
        table(
          ['SUBJECT', 'HOW', 'SINCE', 'UNTIL', 'BY', 'REASON'],
          locks.map(({ subject, how, since, until, who, reason }) => [
            subject,
            how,
            time(since),
            until === undefined ? 'unlocked' : time(until),
            who,
            reason,
          ]),
        ),
      );
    }
    return 0;
  },
};
