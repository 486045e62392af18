/**
 * One external program run to its end: input in, output out, with a deadline and a bound on what it may print.
 */
import { spawn } from 'node:child_process';

const DEADLINE_MS = 10_000;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** The system's own directories first: what holds capabilities runs nothing that somebody put earlier in PATH. */
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

export type CommandOptions = {
  /** given on standard input, which is then closed */
  readonly input?: string;
  /** default 10 s; a program that is not done by then is killed */
  readonly deadlineMs?: number;
};

export type CommandResult = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** The program did not run to its end: not found, killed, too slow, too talkative. Or, from `mustRun`, it said no. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

/**
 * Runs a program and says how it ended. Rejects with CommandError only when there is no exit status: a status other than
 * 0 is the caller's to judge.
 */
export function runCommand(
  command: string,
  args: readonly string[],
  { input = '', deadlineMs = DEADLINE_MS }: CommandOptions = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: ENVIRONMENT, stdio: ['pipe', 'pipe', 'pipe'] });
    const output: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
    let sizeBytes = 0;
    let killedBecause: string | undefined;
    const kill = (why: string): void => {
      killedBecause ??= why;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => kill(`not done after ${deadlineMs} ms`), deadlineMs);
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (chunk: Buffer) => {
        sizeBytes += chunk.length;
        if (sizeBytes > MAX_OUTPUT_BYTES) kill(`printed more than ${MAX_OUTPUT_BYTES} bytes`);
        else output[name].push(chunk);
      });
    }
    // A program that ends without reading all of its input breaks the pipe; its status says why.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(new CommandError(`${command}: cannot be run: ${error.message}`));
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      if (code === null) reject(new CommandError(`${command}: ${killedBecause ?? `ended by ${signal}`}`));
      else {
        const text = (name: 'stdout' | 'stderr'): string => Buffer.concat(output[name]).toString('utf8');
        resolve({ code, stdout: text('stdout'), stderr: text('stderr') });
      }
    });
  });
}

/** The program's standard output; CommandError with what it said when it ends with another status than 0. */
export async function mustRun(command: string, args: readonly string[], options?: CommandOptions): Promise<string> {
  const { code, stdout, stderr } = await runCommand(command, args, options);
  if (code === 0) return stdout;
  const said = stderr.trim() || stdout.trim() || 'no message';
  throw new CommandError(`${command} ${args.join(' ')}: ended with ${code}: ${said.slice(0, 2000)}`);
}
