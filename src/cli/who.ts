import { parseArgs } from 'node:util';
import { canonical } from '../kit/address.ts';
import { safeJson } from '../kit/log.ts';
import type { Who } from '../ledger/language.ts';
import { ask, askHelp, askOptions, parseTime, whoAmI } from './ask.ts';
import { type Command, UsageError } from './command.ts';
import { shown, time } from './show.ts';

export const command: Command = {
  name: 'who',
  summary: 'say whom an address belonged to at a time',
  help: `Usage: postern who ADDRESS [--at TIME] [--json] [--config FILE | --run-dir DIR]

Says whom an address belonged to at that time: as the journal has it of the last attempt from there up to then; where
there is none, as the configuration has it now.

  --at TIME       ago such as 2h or 3d, or a time such as 2026-11-23T14:05Z; now, if it is left out
  --json          one JSON object
${askHelp}

Exit status: 0 it belonged to somebody; 1 to nobody, or the journal cannot be read.

Example: postern who 198.51.100.7 --at 2026-11-23T14:05Z
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { ...askOptions, at: { type: 'string' }, json: { type: 'boolean', default: false } },
    });
    const [given = '', ...more] = positionals;
    const address = canonical(given);
    if (address === undefined || more.length > 0) throw new UsageError('one address, such as 198.51.100.7');
    const nowMs = Date.now();
    const at = values.at === undefined ? nowMs : parseTime('--at', values.at, nowMs);
    const who = (await ask('who', values, { of: 'who', address, at, who: whoAmI() }, io)) as Who | undefined;
    if (who === undefined) return 1;
    if (values.json) io.out(safeJson(who));
    else io.out(whoText(who));
    return who.network === undefined ? 1 : 0;
  },
};

export function whoText({ address, at, network, subscriber, tenant, attempt }: Who): string {
  if (network === undefined)
    return `${address} is in no network, and the journal has nothing from there up to ${time(at)}`;
  return shown(
    [
      `${address} at ${time(at)}: network ${network}`,
      subscriber === undefined ? 'no subscriber of its own' : `subscriber ${subscriber}`,
      ...(tenant === undefined ? [] : [`tenant ${tenant}`]),
      attempt ? `as of attempt ${attempt.id} at ${time(attempt.at)}` : 'as the configuration has it now',
    ].join(', '),
  );
}
