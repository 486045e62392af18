import { parseArgs } from 'node:util';
import type { CaAnswer } from '../ledger/language.ts';
import { ask, askHelp, askOptions, whoAmI } from './ask.ts';
import type { Command } from './command.ts';

export const command: Command = {
  name: 'ca',
  summary: "print the certificate of the gateway's authority, or make another",
  help: `Usage: postern ca [--rotate] [--config FILE | --run-dir DIR]

Prints, in PEM, the certificate of the authority that signs what hosts are shown after STARTTLS. A host that trusts it
can verify the gateway under the name that it asked for. Its key never leaves the keeper (docs/tls.md).

  --rotate        makes another authority first, used from now on; whoever trusts the one before no longer verifies
${askHelp}

Example: postern ca > postern-ca.pem
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: { ...askOptions, rotate: { type: 'boolean', default: false } },
    });
    const rotate = values.rotate ? whoAmI() : undefined;
    const answer = (await ask('ca', values, { of: 'ca', rotate }, io)) as CaAnswer | undefined;
    if (answer === undefined) return 1;
    io.out(answer.certificate);
    return 0;
  },
};
