/**
 * gateway.run_dir of a configuration that may be wrong elsewhere: what runs was started with an earlier one, and must
 * be found while its file is being edited.
 */
import { promises as fs } from 'node:fs';
import { loadConfig } from './load.ts';
import { fileState } from './outside.ts';
import { read } from './read.ts';
import { schema } from './schema.ts';
import { readToml } from './syntax.ts';

export type RunDir =
  /** `mistakes` are the messages of all that is wrong with the file */
  | { readonly runDir: string; readonly mistakes: readonly string[] }
  /** why it cannot be known */
  | { readonly unknown: string };

/** Never rejects for what is in the file. In one whose text has faults the key may be unread; then it is the default. */
export async function findRunDir(path: string): Promise<RunDir> {
  const state = await fileState(path);
  if (!state.readable) return { unknown: `the configuration file ${path} cannot be read: ${state.reason}` };
  const loaded = await loadConfig(path, {});
  if (loaded.ok) return { runDir: loaded.config.gateway.runDir, mistakes: [] };
  const { errors } = loaded;
  const [first] = errors;
  // It is too large, or no file any more.
  if (!first || (first.line === 0 && first.key === '')) return { unknown: first?.message ?? path };
  const { data } = readToml(await fs.readFile(path, 'utf8'));
  const { draft } = read(schema, data, { report: () => {}, lines: () => 0, missing: false });
  const { runDir } = draft.gateway;
  if (runDir !== undefined) return { runDir, mistakes: errors.map(({ message }) => message) };
  const about =
    errors.find(({ key }) => key === 'gateway.run_dir') ??
    errors.find(({ key }) => key === 'gateway' || key.startsWith('gateway.')) ??
    first;
  return { unknown: `gateway.run_dir cannot be read: ${about.message}` };
}
