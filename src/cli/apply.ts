/** `postern apply` */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.ts';
import { needingRestart } from '../config/reload.ts';
import type { Config } from '../config/schema.ts';
import { begin, bootId, confirm, goBack, goBackIfOver, trialOf } from '../config/trial.ts';
import { parseDurationMs } from '../config/value/quantity.ts';
import { CommandError, runCommand } from '../kit/command.ts';
import { newId } from '../kit/ids.ts';
import { runPaths } from '../kit/run-dir.ts';
import { carryOut } from './apply/wish.ts';
import { type Command, DEFAULT_CONFIG, type Io, UsageError } from './command.ts';
import { time } from './show.ts';

const RELOAD = 'systemctl reload postern-guard.service';
const RELOAD_TIMEOUT_MS = 60_000;
const SHORTEST_MS = 1_000;
const LONGEST_MS = 86_400_000;

export const command: Command = {
  name: 'apply',
  summary: 'put a configuration into effect that goes back by itself unless it is confirmed',
  help: `Usage: postern apply NEW --confirm TIME [--config FILE] [--reload COMMAND]
       postern apply --confirmed [--config FILE]
       postern apply --back [--config FILE] [--reload COMMAND]
       postern apply --if-over [--config FILE]
       postern apply --wish [--config FILE] [--reload COMMAND]

Checks NEW as "postern check" does, puts it in the place of the configuration and has the gateway reload it. Unless that is
confirmed in time, the configuration before is put back and loaded: also when this connection is lost meanwhile, by a
process of its own. A machine that restarts in that time comes up with the configuration before. Where only the gateway
restarts, the trial goes on. A change that needs a restart (docs/config.md names these keys) cannot be put on trial.

  --confirm TIME  how long to wait, for example 5m; from 1s to 1d
  --confirmed     it stays
  --back          back at once
  --if-over       back, without loading it, where nobody waits for the end any more: what the gateway does as it starts
  --wish          do what somebody has asked for in the panel, if panel.apply allows it: started by systemd
                  (postern-apply.path) and by "postern run" when there is a wish
  --config FILE   what is replaced (default ${DEFAULT_CONFIG}); FILE.before and FILE.trial stand beside it meanwhile
  --reload COMMAND
                  default "${RELOAD}"; from a checkout: "kill -HUP PID" of "postern run"

Exit status: 0 done; 1 NEW is wrong, or nothing is on trial, or the gateway did not reload (then it went back).

Examples: postern apply /etc/postern/new.toml --confirm 5m
          postern apply --confirmed
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        config: { type: 'string', default: DEFAULT_CONFIG },
        reload: { type: 'string', default: RELOAD },
        confirm: { type: 'string' },
        confirmed: { type: 'boolean', default: false },
        back: { type: 'boolean', default: false },
        'if-over': { type: 'boolean', default: false },
        wish: { type: 'boolean', default: false },
        // said by ourselves to the process that waits
        'wait-for': { type: 'string' },
      },
    });
    const { config: file } = values;
    const [next, ...more] = positionals;
    if (values.wish) {
      const place = ['--config', file, '--reload', values.reload];
      return carryOut(file, (wished, heard) => command.run([...wished, ...place], heard), io);
    }
    const orders = [values.confirmed, values.back, values['if-over'], next !== undefined].filter(Boolean);
    if (more.length > 0 || orders.length !== 1) {
      if (values['wait-for'] === undefined)
        throw new UsageError('name one new configuration, or say --confirmed, --back or --if-over');
      return wait(file, values['wait-for'], values.reload);
    }
    if (values.confirmed) {
      if (!confirm(file)) return say(io, 1, `nothing is on trial in the place of ${file}`);
      return say(io, 0, `${file} stays`);
    }
    if (values['if-over']) {
      if (goBackIfOver(file)) io.out(`${file} is as it was before: nobody waits for the end of the trial any more`);
      return 0;
    }
    if (values.back) {
      if (!goBack(file)) return say(io, 1, `nothing is on trial in the place of ${file}`);
      const failed = await reload(values.reload);
      return failed === undefined ? say(io, 0, `${file} is as it was before`) : say(io, 1, failed);
    }
    const untilMs = values.confirm === undefined ? undefined : parseDurationMs(values.confirm);
    if (untilMs === undefined || untilMs < SHORTEST_MS || untilMs > LONGEST_MS)
      throw new UsageError('--confirm TIME is needed: a time such as 5m, from 1s to 1d');
    return tryOut(file, next as string, untilMs, values.reload, io);
  },
};

async function tryOut(file: string, next: string, confirmMs: number, how: string, io: Io): Promise<number> {
  const configs: Config[] = [];
  for (const path of [next, file]) {
    const loaded = await loadConfig(path);
    if (loaded.ok) {
      configs.push(loaded.config);
      continue;
    }
    for (const { message } of loaded.errors) io.err(message);
    return say(
      io,
      1,
      path === next ? 'nothing was changed' : `${file} is wrong as it is: there is nothing to go back to`,
    );
  }
  const [wanted, inPlace] = configs as [Config, Config];
  const waiting = needingRestart(inPlace, wanted);
  for (const each of waiting) io.err(each);
  if (waiting.length > 0) return say(io, 1, 'what needs a restart cannot be put on trial: nothing was changed');
  const { runDir } = inPlace.gateway;
  const told = existsSync(runDir) ? runPaths(runDir).trial : undefined;
  const trial = { until: Date.now() + confirmMs, id: newId(Date.now()), boot: bootId(), told };
  begin(file, next, trial);
  await leaveWaiter(trial.id, file, how);
  const failed = await reload(how);
  if (failed !== undefined) {
    goBack(file);
    await reload(how);
    return say(io, 1, `${failed}; ${file} is as it was before`);
  }
  const where = file === DEFAULT_CONFIG ? '' : ` --config ${file}`;
  return say(io, 0, `${next} is in effect until ${time(trial.until)}; to keep it: postern apply --confirmed${where}`);
}

/** Who waits outlives this command, the terminal and the connection: under systemd as a unit, else by itself. */
async function leaveWaiter(id: string, file: string, how: string): Promise<void> {
  const program = [...process.execArgv, process.argv[1] ?? '', 'apply'];
  const command = [...program, '--wait-for', id, '--config', file, '--reload', how];
  if (how === RELOAD) {
    // Not "postern-": that is the name of what is in the roles' sandbox, which may not write here.
    const unit = ['--quiet', '--collect', `--unit=apply-postern-${id}`];
    const ran = await runCommand('systemd-run', [...unit, process.execPath, ...command], {
      deadlineMs: RELOAD_TIMEOUT_MS,
    }).catch(() => undefined);
    if (ran?.code === 0) return;
  }
  spawn(process.execPath, command, { detached: true, stdio: 'ignore', cwd: '/' }).unref();
}

/** In a process of its own: at the end of the time, back, unless it was decided before. */
async function wait(file: string, id: string, how: string): Promise<number> {
  for (;;) {
    const trial = trialOf(file);
    if (trial?.id !== id) return 0;
    const leftMs = trial.until - Date.now();
    if (leftMs <= 0) break;
    await sleep(Math.min(leftMs, 1_000));
  }
  if (goBack(file)) await reload(how);
  return 0;
}

/** Why it failed, if it did. */
async function reload(how: string): Promise<string | undefined> {
  try {
    const { code, stderr } = await runCommand('sh', ['-c', how], { deadlineMs: RELOAD_TIMEOUT_MS });
    return code === 0 ? undefined : `"${how}" ended with ${code}: ${stderr.trim()}`;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return error.message;
  }
}

function say(io: Io, status: number, text: string): number {
  if (status === 0) io.out(text);
  else io.err(`postern apply: ${text}`);
  return status;
}
