/** `postern check`: is this configuration good, and what is in effect? */
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.ts';
import { system } from '../config/outside.ts';
import { printJson, printToml } from '../config/print.ts';
import { type Command, DEFAULT_CONFIG } from './command.ts';

export const command: Command = {
  name: 'check',
  summary: 'check a configuration and print what is in effect',
  help: `Usage: postern check [--config FILE] [--json] [--no-resolve]

Checks a configuration. When it is good, prints every key in effect with where its value came from: FILE:LINE or
default. When it is not, prints everything that is wrong with it, one line each, on standard error:

  FILE:LINE: KEY = VALUE: expected ...

  --config FILE   default ${DEFAULT_CONFIG}
  --json          the same for programs: {ok, file, config, origins} or {ok, file, errors}
  --no-resolve    do not look up the names of servers

Exit status: 0 good, 1 not.

Example: postern check --config ./postern.toml && systemctl reload postern-guard
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: 'string', default: DEFAULT_CONFIG },
        json: { type: 'boolean', default: false },
        'no-resolve': { type: 'boolean', default: false },
      },
    });
    const file = values.config;
    const { resolve: _, ...withoutNames } = system;
    const result = await loadConfig(file, values['no-resolve'] ? withoutNames : system);
    if (result.ok) {
      io.out((values.json ? printJson : printToml)(result.config, result.origins, file));
      return 0;
    }
    if (values.json) io.out(`${JSON.stringify({ ok: false, file, errors: result.errors }, undefined, 2)}\n`);
    for (const { message } of result.errors) io.err(`${message}\n`);
    return 1;
  },
};
