/** `postern effective`: which settings hold for an address, and where each comes from. */
import { parseArgs } from 'node:util';
import { camel, type Field } from '../config/field.ts';
import { loadConfig } from '../config/load.ts';
import type { Origins } from '../config/read.ts';
import { type Config, type Network, type Subscriber, schema } from '../config/schema.ts';
import { tomlValue } from '../config/toml.ts';
import { sendersOf, subjectOf } from '../identity/senders.ts';
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

export type Level = 'subscriber' | 'network' | 'default';
export type Setting = { readonly value: unknown; readonly level: Level; readonly from: string | undefined };
export type Effective = {
  readonly network: string;
  readonly subscriber: string | undefined;
  /** whom counts are kept for */
  readonly subject: string;
  readonly settings: Readonly<Record<string, Setting>>;
};

/** Undefined when the address is in no network. `file` is the configuration's, as origins have its lines alone. */
export function effectiveFor(address: string, config: Config, origins: Origins, file: string): Effective | undefined {
  const sender = sendersOf(config).find(address);
  if (!sender) return undefined;
  const { network, subscriber } = sender;
  const path = `network[${config.network.findIndex(({ name }) => name === network.name)}]`;
  const settings: Record<string, Setting> = {};
  for (const [key, field] of Object.entries<Field<unknown>>(schema.fields.network.fields)) {
    if (key === 'name' || key === 'prefixes') continue;
    const value = written(field, network[camel(key) as keyof Network]);
    const line = origins.get(`${path}.${key}`)?.line;
    const isOwn = subscriber !== undefined && subscriber[camel(key) as keyof Subscriber] !== undefined;
    settings[key] = isOwn
      ? { value, level: 'subscriber', from: placeOf(subscriber, key) }
      : line === undefined
        ? { value, level: 'default', from: undefined }
        : { value, level: 'network', from: `${file}:${line}` };
  }
  return { network: network.name, subscriber: subscriber?.name, subject: subjectOf(sender, address), settings };
}

/** As it would stand in the file. */
function written(field: Field<unknown>, value: unknown): unknown {
  return value === undefined ? undefined : (field.write?.(value) ?? value);
}

function placeOf({ place: { file, line, keyLine } }: Subscriber, key: string): string {
  return `${file}:${keyLine?.(key) ?? line}`;
}

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
