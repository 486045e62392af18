import { parseArgs } from 'node:util';
import { safeJson } from '../kit/log.ts';
import type { VerifyingPair } from '../ledger/language.ts';
import { ask, askHelp, askOptions, whoAmI } from './ask.ts';
import { type Command, UsageError } from './command.ts';
import { bytes, table, time } from './show.ts';

export const command: Command = {
  name: 'verifying',
  summary: 'list hosts that did not accept our certificate, and what is carried unread for them',
  help: `Usage: postern verifying [--forget SUBJECT SERVER] [--json] [--config FILE | --run-dir DIR]

Lists each host that did not accept our certificate, with the server that it called: since when, until when it is remembered
(tls.verifying_for), and how many connections and octets have been carried unread meanwhile. What its next connection to
that server meets is the setting "verifying" of its network. "postern top" shows what part of all its attempts was unread.

  --forget        the next connection of SUBJECT to SERVER, both as listed, is intercepted again
  --json          one JSON object a line
${askHelp}

Exit status: 0 done; 1 it was not remembered, or the keeper cannot be asked.

Examples: postern verifying
          postern verifying --forget 198.51.100.7 203.0.113.25:25
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...askOptions,
        json: { type: 'boolean', default: false },
        forget: { type: 'boolean', default: false },
      },
    });
    if (values.forget) {
      const [subject, server] = positionals;
      if (subject === undefined || server === undefined || positionals.length > 2)
        throw new UsageError('--forget takes two names as they are listed: 198.51.100.7 203.0.113.25:25');
      const question = { of: 'verifying-forget', subject, server, who: whoAmI() } as const;
      if ((await ask('verifying', values, question, io)) === undefined) return 1;
      io.out(`the next connection of ${subject} to ${server} is intercepted`);
      return 0;
    }
    if (positionals.length > 0) throw new UsageError('names are given with --forget alone');
    const pairs = (await ask('verifying', values, { of: 'verifying' }, io)) as readonly VerifyingPair[] | undefined;
    if (pairs === undefined) return 1;
    if (values.json) for (const pair of pairs) io.out(safeJson(pair));
    else if (pairs.length === 0) io.out('no host has refused our certificate of late');
    else {
      io.out(
        table(
          ['SUBJECT', 'SERVER', 'SINCE', 'UNTIL', 'CARRIED', 'OCTETS'],
          pairs.map(({ subject, server, since, until, carried, bytes: octets }) => [
            ...[subject, server, time(since), time(until)],
            ...[String(carried), bytes(octets)],
          ]),
        ),
      );
    }
    return 0;
  },
};
