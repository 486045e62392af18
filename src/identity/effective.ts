/** Which settings hold for an address, and the level that each comes from. */
import { camel, type Field } from '../config/field.ts';
import type { Origins } from '../config/read.ts';
import { type Config, type Network, type Subscriber, schema } from '../config/schema.ts';
import { sendersOf, subjectOf } from './senders.ts';

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
