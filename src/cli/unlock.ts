import { parseArgs } from 'node:util';
import type { LockAnswer } from '../ledger/language.ts';
import { ask, askHelp, askOptions, whoAmI } from './ask.ts';
import type { Command } from './command.ts';
import { lockName, subjectOf } from './lock.ts';
import { shown, time } from './show.ts';

export const command: Command = {
  name: 'unlock',
  summary: 'let it send again',
  help: `Usage: postern unlock ADDRESS|PREFIX|@NAME|tenant:NAME [--identity WHO] [--config FILE | --run-dir DIR]

Takes a lock away. Name exactly what was locked ("postern locks" lists it); an IPv6 address stands for its /64.

${askHelp}

Exit status: 0 unlocked; 1 it was not locked, or the keeper cannot be asked.

Example: postern unlock 198.51.100.7
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { ...askOptions, identity: { type: 'string' } },
    });
    const { identity } = values;
    const subject = subjectOf(positionals);
    const answer = (await ask(
      'unlock',
      values,
      { of: 'unlock', subject, who: whoAmI(), ...(identity !== undefined && { identity }) },
      io,
    )) as LockAnswer | undefined;
    if (answer === undefined) return 1;
    const { lock, notKept } = answer;
    io.out(
      `${shown(lockName(lock))} may send again; it was locked since ${time(lock.since)} by ${shown(lock.who)}: ${shown(lock.reason)}`,
    );
    if (notKept !== undefined)
      io.err(
        `postern unlock: it is open now, but locked again after a restart: ${shown(notKept)}; it is written as soon as that is mended`,
      );
    return 0;
  },
};
