/** `postern effective`: which settings hold for an address, and where each comes from. */
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.ts';
import { tomlValue } from '../config/toml.ts';
import { type Effective, effectiveFor } from '../identity/effective.ts';
import { canonical } from '../kit/address.ts';
import { type Command, DEFAULT_CONFIG, UsageError } from './command.ts';
import { table } from './show.ts';

export const command: Command = {
  name: 'effective',
  summary: 'print the settings that hold for an address, and where each comes from',
  help: `Usage: postern effective ADDRESS [--config FILE] [--json]

Prints whom an address belongs to, each setting that holds for it, and the level it comes from: the subscriber, the
network, or the default. It reads the configuration, not what runs: after a change it shows what a reload will bring.

  --config FILE   default ${DEFAULT_CONFIG}
  --json          {address, network, subscriber, subject, settings: {KEY: {value, level, from}}}

Exit status: 0 printed; 1 the configuration is wrong, or the address is in no network.

Example: postern effective 198.51.100.17
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { config: { type: 'string', default: DEFAULT_CONFIG }, json: { type: 'boolean', default: false } },
    });
    const address = positionals.length === 1 ? canonical(positionals[0] ?? '') : undefined;
    if (address === undefined) throw new UsageError('name one address, for example 198.51.100.17');
    const loaded = await loadConfig(values.config, {});
    if (!loaded.ok) {
      for (const { message } of loaded.errors) io.err(message);
      return 1;
    }
    const effective = effectiveFor(address, loaded.config, loaded.origins, values.config);
    if (!effective) {
      io.err(`${address} is in no network: its connections to port 25 are refused`);
      return 1;
    }
    if (values.json) io.out(JSON.stringify({ address, ...effective }, undefined, 2));
    else io.out(text(address, effective));
    return 0;
  },
};

function text(address: string, { network, subscriber, subject, settings }: Effective): string {
  const whose = subscriber === undefined ? '' : `subscriber ${subscriber} in `;
  return `${address}: ${whose}network ${network}, counted as ${subject}\n\n${table(
    ['SETTING', 'VALUE', 'LEVEL', 'FROM'],
    Object.entries(settings).map(([key, { value, level, from }]) => [
      key,
      value === undefined ? '(not set)' : tomlValue(value),
      level,
      from ?? '',
    ]),
  )}`;
}
