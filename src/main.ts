#!/usr/bin/env node
/**
 * Which command am I: finds it, prints help, turns errors into an exit status. Everything else is in src/cli/NAME.ts.
 *
 * Only the command that is asked for is loaded, so a summary stands here as well as in its file (a test compares them).
 */
import { readFileSync } from 'node:fs';
import { isatty } from 'node:tty';
import { type Command, type Io, UsageError } from './cli/command.ts';

const summaries = {
  run: 'start the gateway from a checkout: guard, keeper and workers',
  check: 'check a configuration and print what is in effect',
  config: 'print a commented example, or the reference of every key',
  rules: 'print the kernel rules that a configuration leads to',
  status: 'show what runs, what is open, and every way round',
  lock: 'stop an address or a prefix from sending',
  unlock: 'let it send again',
  locks: 'list what is locked, by whom and why',
  log: 'search the journal of attempts',
  explain: 'say what a class, a reply code or an id means',
  lab: 'send real mail through the gateway in a network of namespaces',
  guard: "role: keep the kernel rules, feed the dead-man's switch",
  keeper: 'role: counters, locks, journal, metrics',
  worker: 'role: take connections and relay mail',
  classes: 'list every class of reply',
} as const satisfies Readonly<Record<string, string>>;

type Name = keyof typeof summaries;

const usage = `Postern, the only gate through which mail leaves a network.

Usage: postern COMMAND [OPTIONS]

${Object.entries(summaries)
  .map(([name, summary]) => `  ${name.padEnd(9)}${summary}`)
  .join('\n')}

  postern COMMAND --help    what it does, its options, an example
  postern --version

Example: postern check --config /etc/postern/postern.toml
`;

const io: Io = {
  out: (text) => void process.stdout.write(endLine(text)),
  err: (text) => void process.stderr.write(endLine(text)),
  isTerminal: isatty(1) && process.env['NO_COLOR'] === undefined,
};

function endLine(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

async function load(name: Name): Promise<Command> {
  const module = (await import(`./cli/${name}.ts`)) as { command: Command };
  return module.command;
}

async function main(args: readonly string[]): Promise<number> {
  const [first = '--help', ...rest] = args;
  if (first === '--version') {
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    io.out(`postern ${version} (Node ${process.versions.node})`);
    return 0;
  }
  const wantsHelp = first === '--help' || first === '-h' || first === 'help';
  const name = wantsHelp ? rest[0] : first;
  if (name === undefined) {
    io.out(usage);
    return args.length === 0 ? 2 : 0;
  }
  if (!isName(name)) {
    const near = nearest(name);
    io.err(`postern: there is no command "${name}"${near ? `; did you mean "${near}"?` : ''}\nSee: postern --help`);
    return 2;
  }
  try {
    const command = await load(name);
    const end = rest.indexOf('--');
    const options = end < 0 ? rest : rest.slice(0, end);
    if (wantsHelp || options.includes('--help') || options.includes('-h')) {
      io.out(command.help);
      return 0;
    }
    return await command.run(rest, io);
  } catch (error) {
    return report(error, name);
  }
}

function report(error: unknown, name: Name): number {
  const message = error instanceof Error ? error.message : String(error);
  const code = (error as { code?: unknown } | undefined)?.code;
  if (error instanceof UsageError || (typeof code === 'string' && code.startsWith('ERR_PARSE_ARGS_'))) {
    // parseArgs adds advice on "--" after its first sentence, which hardly ever fits.
    const text = error instanceof UsageError ? message : message.split(/\. /, 1)[0];
    io.err(`postern ${name}: ${text}\nSee: postern ${name} --help`);
    return 2;
  }
  if (process.env['POSTERN_DEBUG'] === '1') io.err(error instanceof Error ? String(error.stack) : message);
  else io.err(`postern ${name}: ${message.replace(/\s*\n\s*/g, ' ')}\nPOSTERN_DEBUG=1 in the environment shows where.`);
  return 1;
}

function isName(text: string): text is Name {
  return Object.hasOwn(summaries, text);
}

/** The command that a slip of the finger most likely meant: at most two edits away, or begun with. */
function nearest(text: string): string | undefined {
  const names = Object.keys(summaries);
  const [best] = names.map((name) => ({ name, edits: distance(text, name) })).sort((a, b) => a.edits - b.edits);
  return best && best.edits <= 2 ? best.name : names.find((name) => text.length > 1 && name.startsWith(text));
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of a.split('').entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const change = (row[j] as number) + (letter === b[j] ? 0 : 1);
      next.push(Math.min(change, (row[j + 1] as number) + 1, (next[j] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

// A reader that goes away early (`postern log | head`) is no error of ours.
process.stdout.on('error', () => {});
process.exit(await main(process.argv.slice(2)));
