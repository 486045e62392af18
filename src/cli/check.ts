/** `postern check`: is this configuration good, and what is in effect? */
import { parseArgs } from 'node:util';
import { freemailContacts } from '../config/freemail.ts';
import { type LoadResult, loadConfig } from '../config/load.ts';
import { system } from '../config/outside.ts';
import { printJson, printToml } from '../config/print.ts';
import { interfacesHere } from '../guard/inside.ts';
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

An interface of intercept.inside that this machine does not have now is a warning on standard error, not a mistake:
it may be made later. So is a contact at a provider of free mailboxes: it filters the reports, which quote spam.

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
      const warnings = [...missingInterfaces(result, file), ...freemailContacts(result, file)];
      for (const warning of warnings) io.err(`${warning}\n`);
      io.out((values.json ? printJson : printToml)(result.config, result.origins, file));
      return 0;
    }
    if (values.json) io.out(`${JSON.stringify({ ok: false, file, errors: result.errors }, undefined, 2)}\n`);
    for (const { message } of result.errors) io.err(`${message}\n`);
    return 1;
  },
};

/** They may be missing with good reason, before the network is up or on the machine where this is written: no errors. */
function missingInterfaces({ config, origins }: Extract<LoadResult, { ok: true }>, file: string): string[] {
  let here: ReadonlySet<string>;
  try {
    here = interfacesHere();
  } catch {
    return [];
  }
  const line = origins.get('intercept.inside')?.line;
  return config.intercept.inside
    .filter((name) => !here.has(name))
    .map(
      (name) =>
        `${file}:${line}: warning: intercept.inside: this machine has no interface "${name}" now; without it nothing that comes in there is intercepted ("ip link" lists those that are here)`,
    );
}
