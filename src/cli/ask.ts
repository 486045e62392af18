/** What the commands that ask the keeper have in common: where it is, and what is said when it is not. */
import { userInfo } from 'node:os';
import { parseDurationMs } from '../config/value/quantity.ts';
import { findRunDir } from '../config/run-dir.ts';
import { runPaths } from '../kit/run-dir.ts';
import { askKeeper, KeeperError } from '../ledger/ask.ts';
import type { Question } from '../ledger/language.ts';
import { DEFAULT_CONFIG, type Io, UsageError } from './command.ts';

/** For parseArgs; every command that asks takes them. */
export const askOptions = {
  config: { type: 'string', default: DEFAULT_CONFIG },
  'run-dir': { type: 'string' },
} as const;

export const askHelp = `  --config FILE   finds the keeper by gateway.run_dir in it (default ${DEFAULT_CONFIG})
  --run-dir DIR   finds it there, without a configuration`;

type Where = { readonly config: string; readonly 'run-dir'?: string | undefined };

/** The answer; undefined when there is none: why has then been said on standard error. */
export async function ask(name: string, where: Where, question: Question, io: Io): Promise<unknown> {
  try {
    return await askKeeper(
      runPaths(where['run-dir'] ?? (await runDirOf(name, where.config, io))).keeperSocket,
      question,
    );
  } catch (error) {
    if (!(error instanceof KeeperError)) throw error;
    io.err(`postern ${name}: ${error.message}`);
    return undefined;
  }
}

/** A mistake in the file does not hide what runs: it is said, and the keeper asked. */
async function runDirOf(name: string, config: string, io: Io): Promise<string> {
  const found = await findRunDir(config);
  if ('unknown' in found)
    throw new KeeperError(`${found.unknown}; name another file with --config, or the directory with --run-dir`);
  const { runDir, mistakes } = found;
  const [first] = mistakes;
  if (first !== undefined) {
    const what = mistakes.length === 1 ? 'a mistake' : `${mistakes.length} mistakes, the first`;
    io.err(`postern ${name}: the configuration has ${what}: ${first}; asking the gateway in ${runDir}`);
  }
  return runDir;
}

/** Who asks, for the record of locks: the user behind sudo, if there is one. */
export function whoAmI(env: Readonly<Record<string, string | undefined>> = process.env): string {
  return (env['SUDO_USER'] ?? env['USER'] ?? userName()).slice(0, 100);
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.()}`;
  }
}

/** A point in time: `2h` is two hours ago, `2026-11-23`, `2026-11-23T14:05` and `2026-11-23T14:05:00Z` are themselves. */
export function parseTime(option: string, text: string, nowMs: number): number {
  const ago = parseDurationMs(text);
  if (ago !== undefined) return nowMs - ago;
  const isIso = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:?\d{2})?)?$/.test(text);
  const at = isIso ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at) || at < 0)
    throw new UsageError(
      `${option} takes a time ago such as "2h" or "3d", or a time such as "2026-11-23T14:05Z", not "${text}"`,
    );
  return at;
}
