/**
 * The configuration as the panel shows it, what another one would change, and the wish that it be put on trial. The keeper
 * writes no configuration and reloads nobody: whoever may do that is asked (kit/wish.ts).
 */
import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { copiedSubscribers, loadConfig } from '../config/load.ts';
import { printToml } from '../config/print.ts';
import type { Origins } from '../config/read.ts';
import type { Config } from '../config/schema.ts';
import { plan } from '../guard/plan.ts';
import { renderAll } from '../guard/render.ts';
import type { Clock } from '../kit/clock.ts';
import { runCommand } from '../kit/command.ts';
import { newId } from '../kit/ids.ts';
import { runPaths } from '../kit/run-dir.ts';
import { userOf } from '../kit/users.ts';
import { hasWish, type Wish, type WishAnswer, wishAnswerOf, writeWish } from '../kit/wish.ts';
import { linesThatDiffer } from '../panel/diff.ts';
import type { Checked, ConfigRoom } from '../panel/config-room.ts';
import { Refusal } from '../panel/refusal.ts';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));
const PREDICT_SINCE = '1d';
const PREDICT_MS = 30_000;
const MAX_PREDICTED = 100;
const ANSWER_MS = 40_000;
const POLL_MS = 100;

export type ConfigDeps = {
  readonly config: () => Config;
  readonly origins: () => Origins;
  readonly file: string;
  readonly clock: Clock;
};

export function keeperConfig({ config, origins, file, clock }: ConfigDeps): ConfigRoom {
  let isChecking = false;

  const check = async (text: string): Promise<Checked> => {
    const { stateDir } = config().gateway;
    const candidate = join(stateDir, 'candidate.toml');
    const beside = [copiedSubscribers(candidate), copiedSubscribers(file)] as const;
    writeFileSync(candidate, text, { mode: 0o600 });
    rmSync(beside[0], { force: true });
    if (existsSync(beside[1])) symlinkSync(beside[1], beside[0]);
    try {
      const loaded = await loadConfig(candidate, {});
      if (!loaded.ok)
        return { ok: false, errors: loaded.errors.map(({ line, key, expected }) => ({ line, key, expected })) };
      const uid = { workerUid: userOf('worker').uid };
      return {
        ok: true,
        settings: linesThatDiffer(
          withoutPlaces(printToml(config(), origins(), file)),
          withoutPlaces(printToml(loaded.config, loaded.origins, candidate)),
        ),
        rules: linesThatDiffer(renderAll(plan(config(), uid)), renderAll(plan(loaded.config, uid))),
        predicted: await predicted(candidate, join(stateDir, 'journal.db')),
      };
    } finally {
      rmSync(candidate, { force: true });
      rmSync(beside[0], { force: true });
    }
  };

  const wish = async (what: Omit<Wish, 'id' | 'at'>): Promise<WishAnswer> => {
    const { panel, gateway } = config();
    if (!panel.apply)
      throw new Refusal(409, 'panel.apply is not set in the configuration: here it is shown, and not changed');
    if (hasWish(gateway.stateDir)) throw new Refusal(409, 'another change is under way; wait a moment');
    const id = newId(clock.nowMs());
    writeWish(gateway.stateDir, { ...what, id, at: clock.nowMs() });
    for (const deadline = clock.monotonicMs() + ANSWER_MS; clock.monotonicMs() < deadline; await pause(POLL_MS)) {
      const answer = wishAnswerOf(runPaths(gateway.runDir).wishAnswer);
      if (answer?.id === id) return answer;
    }
    throw new Refusal(
      503,
      'nobody carries it out: that is done by "postern run", or by systemd with postern-apply.path; look whether it runs',
    );
  };

  return {
    shown: () => ({
      file,
      text: existsSync(file) ? readFileSync(file, 'utf8') : '',
      effective: printToml(config(), origins(), file),
      mayApply: config().panel.apply,
      trialUntil: trialUntil(runPaths(config().gateway.runDir).trial),
    }),
    async check(text) {
      if (isChecking) throw new Refusal(429, 'another configuration is looked at just now', { retryAfterS: 5 });
      isChecking = true;
      try {
        return await check(text);
      } finally {
        isChecking = false;
      }
    },
    apply: (text, confirmMs) => wish({ what: 'apply', text, confirmMs }),
    confirm: () => wish({ what: 'confirmed' }),
    back: () => wish({ what: 'back' }),
  };
}

/** In a process of its own, since it reads a day of the journal: what `postern predict --config` prints. */
async function predicted(candidate: string, journal: string): Promise<Extract<Checked, { ok: true }>['predicted']> {
  const args = [MAIN, 'predict', '--config', candidate, '--journal', journal, '--since', PREDICT_SINCE, '--json'];
  try {
    const { code, stdout, stderr } = await runCommand(
      process.execPath,
      [...process.execArgv.filter((arg) => arg.startsWith('--disallow')), ...args, '--limit', String(MAX_PREDICTED)],
      { deadlineMs: PREDICT_MS },
    );
    if (code !== 0) return { problem: stderr.trim() };
    const [sums = {}, ...rows] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    return { sums, rows };
  } catch (error) {
    return { problem: (error as Error).message };
  }
}

/** A setting that says the same in another line is none that differs. */
function withoutPlaces(printed: string): string {
  const without = (line: string): string => {
    const at = line.lastIndexOf('  # ');
    return at < 0 ? line : line.slice(0, at).trimEnd();
  };
  return printed.split('\n').map(without).join('\n');
}

function trialUntil(path: string): number | undefined {
  try {
    const { until } = JSON.parse(readFileSync(path, 'utf8')) as { until?: unknown };
    return typeof until === 'number' ? until : undefined;
  } catch {
    return undefined;
  }
}
