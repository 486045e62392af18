/** The output of a command, caught. */
import type { Command, Io } from '../../src/cli/command.ts';

export type Said = { readonly status: number; readonly out: string; readonly err: string };

/** Runs a command in this process. What it throws, it throws here. */
export async function runCommand(command: Command, args: readonly string[], isTerminal = false): Promise<Said> {
  const said = { out: '', err: '' };
  const line = (text: string): string => (text.endsWith('\n') ? text : `${text}\n`);
  const io: Io = {
    out: (text) => void (said.out += line(text)),
    err: (text) => void (said.err += line(text)),
    isTerminal,
  };
  const status = await command.run(args, io);
  return { status, ...said };
}
