/**
 * What a role does on SIGHUP: load the file again; valid → the role gets the new configuration, invalid or not to be had
 * without a restart → the old one stays and every error is logged. Never throws, never ends a process.
 */
import type { Log } from '../kit/log.ts';
import { egressNeedsRestart } from './egress.ts';
import { loadConfig } from './load.ts';
import type { Outside } from './outside.ts';
import type { Origins } from './read.ts';
import type { Config } from './schema.ts';

// Sockets, files and processes hang on these from the start: they keep their value until a restart.
const needsRestart = {
  'gateway.state_dir': ({ gateway }: Config) => gateway.stateDir,
  'gateway.run_dir': ({ gateway }: Config) => gateway.runDir,
  'gateway.workers': ({ gateway }: Config) => gateway.workers,
  'intercept.port': ({ intercept }: Config) => intercept.port,
  'panel.listen': ({ panel }: Config) => panel.listen.text,
  'metrics.listen': ({ metrics }: Config) => metrics.listen.text,
};

export const restartKeys: readonly string[] = Object.keys(needsRestart);

export type Reload = {
  /**
   * Reload now. One runs at a time; a call while one runs has it run once more, so the file's last state wins. Resolves
   * when no reload is left to do.
   */
  (): Promise<void>;
  /** how many reloads were refused or could not be applied, for the metric */
  readonly errors: number;
};

/**
 * A reload for the role that was started with `config`, loaded from `path`. `apply` takes a new configuration into
 * effect; when it throws, that is logged and counted. `outside` is what the role checks besides the text, by default
 * nothing: names are for `postern check` and the supervisor, so that all roles come to the same answer.
 */
export function createReloader(
  path: string,
  config: Config,
  log: Log,
  apply: (config: Config, origins: Origins) => void | Promise<void>,
  outside: Outside = {},
): Reload {
  let errors = 0;
  let running: Promise<void> | undefined;
  let again = false;

  const once = async (): Promise<void> => {
    const result = await loadConfig(path, outside);
    if (!result.ok) {
      errors++;
      for (const { file, line, key, value, expected } of result.errors) {
        log.write('error', 'config.invalid', { file, line, key, value, expected });
      }
      log.write('error', 'config.kept', { errors: result.errors.length });
      return;
    }
    const refused = egressNeedsRestart(config, result.config);
    if (refused !== undefined) {
      errors++;
      log.write('error', 'config.refused', { error: refused });
      log.write('error', 'config.kept', { errors: 1 });
      return;
    }
    const next = keepRunning(config, result.config, log);
    await apply(next, result.origins);
    log.write('info', 'config.reloaded', { file: path });
  };

  const untilDone = async (): Promise<void> => {
    while (again) {
      again = false;
      try {
        await once();
      } catch (error) {
        errors++;
        log.write('error', 'config.not-applied', { error: String(error) });
      }
    }
    running = undefined;
  };

  const reload = (): Promise<void> => {
    again = true;
    return (running ??= untilDone());
  };
  return Object.defineProperty(reload, 'errors', { get: () => errors }) as Reload;
}

/** What of `next` a gateway that runs with `now` takes with a restart alone: a sentence for each. */
export function needingRestart(now: Config, next: Config): string[] {
  const keys = Object.entries(needsRestart).filter(([, valueOf]) => valueOf(now) !== valueOf(next));
  const egress = egressNeedsRestart(now, next);
  return [...keys.map(([key]) => `${key} needs a restart`), ...(egress === undefined ? [] : [egress])];
}

/** The new configuration with the running values of the keys that need a restart. */
function keepRunning(now: Config, next: Config, log: Log): Config {
  for (const [key, valueOf] of Object.entries(needsRestart)) {
    const [running, file] = [valueOf(now), valueOf(next)];
    if (running !== file) log.write('warn', 'config.needs-restart', { key, running, file });
  }
  const { stateDir, runDir, workers } = now.gateway;
  return {
    ...next,
    gateway: { ...next.gateway, stateDir, runDir, workers },
    intercept: { ...next.intercept, port: now.intercept.port },
    panel: { ...next.panel, listen: now.panel.listen },
    metrics: { ...next.metrics, listen: now.metrics.listen },
  };
}
