/** Carries out what the panel wishes, when the configuration in place lets it (`panel.apply`). As root. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig, parseConfig } from '../../config/load.ts';
import { runPaths } from '../../kit/run-dir.ts';
import { takeWish, type Wish, type WishAnswer } from '../../kit/wish.ts';
import type { Io } from '../command.ts';
import { tellRoles } from '../../config/trial.ts';

/** Who wished has given up by then. */
const STALE_MS = 60_000;
const MAX_TEXT = 50_000;

/** `apply` runs `postern apply` with these arguments. Resolves with its exit status; 1 when there was nothing to do. */
export async function carryOut(
  file: string,
  apply: (args: readonly string[], io: Io) => Promise<number>,
  io: Io,
): Promise<number> {
  const loaded = await loadConfig(file, {});
  if (!loaded.ok) {
    io.err(`postern apply: ${file} is wrong as it is: no wish is carried out`);
    return 1;
  }
  const { gateway, panel, subscribers } = loaded.config;
  const wish = takeWish(gateway.stateDir);
  if (!wish || Date.now() - wish.at > STALE_MS) return 1;
  const said: string[] = [];
  const note = (text: string): void => void said.push(text.trim());
  if (!panel.apply) note('panel.apply is not set: the panel changes nothing');
  const status = panel.apply ? await tryIt(wish) : 1;
  const answer: WishAnswer = { id: wish.id, ok: status === 0, text: said.join('\n').slice(0, MAX_TEXT) };
  tellRoles(runPaths(gateway.runDir).wishAnswer, answer);
  return status;

  async function tryIt({ what, text = '', confirmMs = 0 }: Wish): Promise<number> {
    if (what === 'apply' && (await readsElsewhere(text, subscribers.directory))) {
      note('subscribers.directory is read as root: it is not changed from the panel, only in the file itself');
      return 1;
    }
    const directory = mkdtempSync(join(tmpdir(), 'postern-wish-'));
    const next = join(directory, 'new.toml');
    try {
      writeFileSync(next, text, { mode: 0o600 });
      const args = what === 'apply' ? [next, '--confirm', `${confirmMs}ms`] : [`--${what}`];
      return await apply(args, {
        ...io,
        out: note,
        err: (line) => note(line.replaceAll(next, 'the new configuration')),
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  }
}

/** Whether the text names another directory, which is not looked into: errors quote what is there. */
async function readsElsewhere(text: string, inPlace: string | undefined): Promise<boolean> {
  let isOther = false;
  await parseConfig(text, 'the new configuration', {}, (directory) => {
    isOther = directory !== inPlace;
    return Promise.resolve({ subscribers: [], errors: [] });
  });
  return isOther;
}
