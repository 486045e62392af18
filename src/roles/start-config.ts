/**
 * The configuration a role starts with. A role may have to start at any moment, also while the file is being edited or
 * is wrong, and then goes on with the one that was last found to be right: what runs must not depend on when it crashes.
 */
import { readFileSync } from 'node:fs';
import { type LoadResult, loadConfig } from '../config/load.ts';
import type { Outside } from '../config/outside.ts';
import type { Log } from '../kit/log.ts';

/**
 * Where the unit of the guard keeps a copy of the last valid configuration (systemd/keep-config; root's to write).
 * Under `postern run` it is not set: there the roles are given such a copy in the first place.
 */
const LAST_VALID = 'POSTERN_LAST_VALID_CONFIG';

/** Loads `path`, or when it is refused and there is one, the last valid configuration; the errors are then logged. */
export async function loadAtStart(
  path: string,
  log: Log,
  outside: Outside = {},
  lastValidPath: string | undefined = process.env[LAST_VALID],
): Promise<LoadResult> {
  const loaded = await loadConfig(path, outside);
  if (loaded.ok || lastValidPath === undefined) return loaded;
  const last = await loadConfig(lastValidPath, outside);
  if (!last.ok) return loaded;
  for (const { message } of loaded.errors) log.write('error', 'config.invalid', { message });
  log.write('error', 'config.last-valid', { file: lastValidPath, errors: loaded.errors.length });
  return last;
}

/** A file with nothing but comments, as the package brings it: the units are not started with one either. */
export function saysNothing(path: string): boolean {
  try {
    return !/^[ \t]*[^# \t\r\n]/m.test(readFileSync(path, 'utf8'));
  } catch {
    return false;
  }
}
