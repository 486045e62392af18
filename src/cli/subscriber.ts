/** `postern subscriber`: a list of subscribers from elsewhere, checked before it is used. */
import { promises as fs } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import type { ConfigError } from '../config/error.ts';
import { loadConfig } from '../config/load.ts';
import { reasonOf } from '../config/outside.ts';
import { checkSubscribers } from '../config/subscriber-check.ts';
import { columns, readSubscriberFile } from '../config/subscribers.ts';
import { type Command, DEFAULT_CONFIG, type Io, UsageError } from './command.ts';
import { counted } from './show.ts';

export const command: Command = {
  name: 'subscriber',
  summary: 'import a list of subscribers, after a check',
  help: `Usage: postern subscriber import FILE.csv [--config FILE] [--dry-run]

Checks a CSV file of subscribers together with the configuration and all other subscribers, and puts it into
subscribers.directory under its own name, in the place of an earlier one of that name. Nothing is changed when anything is
wrong. The gateway takes it at its next reload, and drops nobody's connection:

  systemctl reload postern-guard postern-keeper 'postern-worker@*'    (from a checkout: SIGHUP to "postern run")

The first row names the columns: name and prefixes, and any setting of a subscriber. An empty value is not set: the
network's counts. Lists have blanks between their elements, or semicolons where an element has a blank in it.

  name,prefixes,contact,tenant,max_connections
  web-17,198.51.100.17 2001:db8:1:17::/64,abuse@customer.example,example-hosting,20

Columns: ${wrap(columns.join(', '), 100)}

  --config FILE   default ${DEFAULT_CONFIG}
  --dry-run       check only

Exit status: 0 imported, or good; 1 not.

Example: postern subscriber import ./customers.csv && postern effective 198.51.100.17
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        config: { type: 'string', default: DEFAULT_CONFIG },
        'dry-run': { type: 'boolean', default: false },
      },
    });
    const [verb, file, ...more] = positionals;
    if (verb !== 'import' || file === undefined || more.length > 0)
      throw new UsageError('say "import" and one file, for example: postern subscriber import customers.csv');
    if (!/^[^.].*\.csv$/.test(basename(file))) throw new UsageError(`the file's name ends in ".csv", unlike ${file}`);
    return importFile(file, values.config, values['dry-run'], io);
  },
};

async function importFile(file: string, configPath: string, isTrial: boolean, io: Io): Promise<number> {
  const say = (errors: readonly ConfigError[]): number => {
    for (const { message } of errors) io.err(message);
    return 1;
  };
  const read = await readSubscriberFile(file);
  if (read.errors.length > 0) return say(read.errors);
  const loaded = await loadConfig(configPath, {});
  if (!loaded.ok) return say(loaded.errors);
  const { directory } = loaded.config.subscribers;
  if (directory === undefined) {
    io.err(`${configPath} names no directory to import into: set subscribers.directory`);
    return 1;
  }
  const target = join(directory, basename(file));
  const others = loaded.config.subscriber.filter(({ place }) => place.file !== target);
  const wrong = checkSubscribers([...others, ...read.subscribers], loaded.config);
  if (wrong.length > 0) return say(wrong);
  const count = counted(read.subscribers.length, 'subscriber', 'subscribers');
  if (isTrial) {
    io.out(`${file}: ${count}, good`);
    return 0;
  }
  try {
    await replace(target, await fs.readFile(file));
  } catch (error) {
    io.err(`${target} cannot be written: ${reasonOf(error)}`);
    return 1;
  }
  io.out(`${target}: ${count}; the gateway takes them at its next reload`);
  return 0;
}

/** Readers see the old file or the new one. A name that begins with a dot is no file of subscribers. */
async function replace(target: string, bytes: Buffer): Promise<void> {
  const draft = join(target, '..', `.${basename(target)}.new`);
  const before = await fs.stat(target).catch(() => undefined);
  await fs.writeFile(draft, bytes, { mode: 0o640, flush: true });
  // The roles read it as members of the directory's group.
  const { gid } = before ?? (await fs.stat(join(target, '..')));
  if (process.getuid?.() === 0) await fs.chown(draft, 0, gid);
  await fs.rename(draft, target);
}

function wrap(text: string, width: number): string {
  return text.replace(new RegExp(`(.{1,${width}})( |$)`, 'g'), '$1\n  ').trimEnd();
}
