/** Finds the command by its name, prints help, turns errors into an exit status. */
import { nearest } from '../config/near.ts';
import { type Command, type Io, UsageError } from './command.ts';
import type { Entry } from './commands.ts';

export type Program = {
  readonly commands: Readonly<Record<string, Entry>>;
  /** `0.1.0 (Node 26.10.0)` */
  readonly version: string;
  /** show the stack of an error that nobody expected */
  readonly debug: boolean;
};

/** Exit status: the command's own; 2 for wrong arguments; 1 for an error that nobody expected. */
export async function dispatch(args: readonly string[], io: Io, program: Program): Promise<number> {
  const [first = '', ...rest] = args;
  if (first === '--version') {
    io.out(`postern ${program.version}`);
    return 0;
  }
  const wantsHelp = first === '--help' || first === '-h' || first === 'help';
  const name = wantsHelp ? rest[0] : first;
  if (name === undefined || name === '') {
    (wantsHelp ? io.out : io.err)(usage(program));
    return wantsHelp ? 0 : 2;
  }
  const entry = Object.hasOwn(program.commands, name) ? program.commands[name] : undefined;
  if (!entry) {
    const near = nearest(name, Object.keys(program.commands));
    io.err(`postern: there is no command "${name}"${near ? `; did you mean "${near}"?` : ''}\nSee: postern --help`);
    return 2;
  }
  try {
    const { command }: { readonly command: Command } = await entry.load();
    const end = rest.indexOf('--');
    const options = end < 0 ? rest : rest.slice(0, end);
    if (!wantsHelp && !options.includes('--help') && !options.includes('-h')) return await command.run(rest, io);
    io.out(command.help);
    return 0;
  } catch (error) {
    return report(error, name, io, program.debug);
  }
}

function usage({ commands }: Program): string {
  const list = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(9)}${summary}`);
  return `Postern, the only gate through which mail leaves a network.

Usage: postern COMMAND [OPTIONS]

${list.join('\n')}

  postern COMMAND --help    what it does, its options, an example
  postern --version

Example: postern check --config /etc/postern/postern.toml
`;
}

function report(error: unknown, name: string, io: Io, debug: boolean): number {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (error instanceof UsageError || code.startsWith('ERR_PARSE_ARGS_')) {
    // parseArgs adds advice on "--" after its first sentence, which hardly ever fits.
    const text = error instanceof UsageError ? message : message.split(/\. /, 1)[0];
    io.err(`postern ${name}: ${text}\nSee: postern ${name} --help`);
    return 2;
  }
  if (debug) io.err(error instanceof Error ? String(error.stack) : message);
  else io.err(`postern ${name}: ${inOneLine(message)}\nPOSTERN_DEBUG=1 in the environment shows where.`);
  return 1;
}

function inOneLine(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trim())
    .join(' ');
}
