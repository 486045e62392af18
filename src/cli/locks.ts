import { parseArgs } from 'node:util';
import { safeJson } from '../kit/log.ts';
import type { Lock, LockEvent } from '../ledger/language.ts';
import { ask, askHelp, askOptions } from './ask.ts';
import type { Command, Io } from './command.ts';
import { lockName } from './lock.ts';
import { table, time } from './show.ts';

export const command: Command = {
  name: 'locks',
  summary: 'list what is locked, by whom and why',
  help: `Usage: postern locks [--history] [--json] [--config FILE | --run-dir DIR]

Lists every lock in force, oldest first.

  --history       what became of locks, newest first: set, taken away, run out, by whom
  --json          one JSON object a line
${askHelp}

Example: postern locks
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...askOptions,
        json: { type: 'boolean', default: false },
        history: { type: 'boolean', default: false },
      },
    });
    if (values.history) return showHistory(values, io);
    const locks = (await ask('locks', values, { of: 'locks' }, io)) as readonly Lock[] | undefined;
    if (locks === undefined) return 1;
    if (values.json) for (const lock of locks) io.out(safeJson(lock));
    else if (locks.length === 0) io.out('nothing is locked');
    else {
      io.out(
        table(
          ['SUBJECT', 'HOW', 'SINCE', 'UNTIL', 'BY', 'REASON'],
          locks.map((lock) => [
            lockName(lock),
            lock.how,
            time(lock.since),
            lock.until === undefined ? 'unlocked' : time(lock.until),
            lock.who,
            lock.reason,
          ]),
        ),
      );
    }
    return 0;
  },
};

const MAX_HISTORY = 1000;

async function showHistory(values: Parameters<typeof ask>[1] & { readonly json: boolean }, io: Io): Promise<number> {
  const events = (await ask('locks', values, { of: 'lock-history', limit: MAX_HISTORY }, io)) as
    | readonly LockEvent[]
    | undefined;
  if (events === undefined) return 1;
  if (values.json) for (const event of events) io.out(safeJson(event));
  else if (events.length === 0) io.out('nothing was ever locked');
  else {
    io.out(
      table(
        ['TIME', 'WHAT', 'SUBJECT', 'HOW', 'BY', 'REASON', 'ATTEMPTS'],
        events.map(({ at, what, who, lock }) => [
          time(at),
          what,
          lockName(lock),
          lock.how,
          who,
          lock.reason,
          (lock.evidence ?? []).join(' '),
        ]),
      ),
    );
  }
  return 0;
}
