/**
 * The guard: the only process that touches the kernel, and that reads no byte of mail. CAP_NET_ADMIN, and CAP_NET_RAW
 * because iptables asks ipset for its version through a raw socket.
 *
 * If it dies the rules stand, and after 3 s the dead-man's switch lapses. SIGTERM leaves the rules where they are.
 */
import { Socket } from 'node:net';
import { createReloader } from '../config/reload.ts';
import { prefixesOfName } from '../config/effective.ts';
import type { Config } from '../config/schema.ts';
import { applyOnce } from '../guard/apply.ts';
import { withoutEnded } from '../guard/exempt.ts';
import { Guard, refreshAlive } from '../guard/guard.ts';
import { Inside } from '../guard/inside.ts';
import { plan } from '../guard/plan.ts';
import { withSteps } from '../guard/stepped.ts';
import { Switch } from '../guard/switch.ts';
import { applyUnset } from '../guard/unset.ts';
import { connectChannel } from '../kit/channel.ts';
import { machineMs, systemClock } from '../kit/clock.ts';
import { type Log, stdoutLog } from '../kit/log.ts';
import { runPaths } from '../kit/run-dir.ts';
import { userOf } from '../kit/users.ts';
import {
  type FromKeeper,
  type KernelReport,
  type Lock,
  type Step,
  type ToKeeper,
  VERSION,
} from '../ledger/language.ts';
import { checkFromKeeper } from '../ledger/language-check.ts';
import { holds } from '../ledger/register.ts';
import { eachLine } from './lines.ts';
import { notify } from './notify.ts';
import { loadAtStart, saysNothing } from './start-config.ts';

const REPORT_EVERY_MS = 1_000;

const planOf = (config: Config, steps: readonly Step[] = []) =>
  plan(withSteps(withoutEnded(config, Date.now()), steps, Date.now()), { workerUid: userOf('worker').uid });

/**
 * Puts the rules into the kernel and ends: for the unit that runs before the network comes up. Without a configuration
 * that is right, nobody is forwarded to port 25; a file with nothing but comments is one that is still to be written.
 */
export async function applyRules(configPath: string): Promise<number> {
  const log = stdoutLog('guard');
  const loaded = await loadAtStart(configPath, log);
  if (loaded.ok) {
    const steps = await applyOnce(planOf(loaded.config));
    log.write('info', 'rules.applied', { changes: steps.flatMap(({ because }) => because).length });
    return 0;
  }
  await applyUnset();
  if (!saysNothing(configPath)) return refuse(loaded.errors);
  log.write('info', 'rules.unset');
  return 0;
}

/** Runs until SIGTERM; resolves with the exit status. */
export async function guard(configPath: string): Promise<number> {
  process.title = 'postern: guard';
  const log = stdoutLog('guard');
  const loaded = await loadAtStart(configPath, log);
  if (!loaded.ok) return refuse(loaded.errors);
  const { config } = loaded;
  const abort = new AbortController();
  const kernel = new Guard(planOf(config), log);
  await kernel.start();

  const inside = new Inside(config.intercept.inside, log);
  const reload = createReloader(configPath, config, log, async (next) => {
    await kernel.replace(planOf(next, steps));
    inside.replace(next.intercept.inside);
    current = next;
    tellLocks();
  });
  process.on('SIGHUP', () => void reload());
  const supervisor = connectSupervisor(process.env['POSTERN_SUPERVISOR_FD'], log);
  const deadMan = startSwitch(config, supervisor, log);
  let current = config;
  let locks: readonly Lock[] | undefined;
  const tellLocks = (): void => {
    if (locks) kernel.lock(locks.flatMap((lock) => inPrefixes(lock, current)));
  };
  let steps: readonly Step[] = [];
  let exempt = withoutEnded(config, Date.now()).exemptTo.length;
  /** Ends of steps are seen here too, whether the keeper is there to say so or not, and those of exempt destinations. */
  const follow = (next: readonly Step[]): void => {
    const left = withoutEnded(current, Date.now()).exemptTo.length;
    if (next === steps && left === exempt && steps.every((step) => holds(step, Date.now()))) return;
    exempt = left;
    steps = next.filter((step) => holds(step, Date.now()));
    kernel
      .replace(planOf(current, steps))
      .catch((error: unknown) => log.write('error', 'steps.not-applied', { error: String(error) }));
  };
  const keeper = connectKeeper(config, log, abort.signal, {
    onLocks(told) {
      locks = told;
      tellLocks();
    },
    onSteps: (told) => follow(told),
  });
  const report = setInterval(() => {
    follow(steps);
    const { alive, since: aliveSince, workers } = deadMan.state();
    const configErrors = reload.errors + supervisor.configRefused();
    const message: KernelReport = {
      ...kernel.report(),
      ...{ inside: inside.look(), alive, aliveSince, workers, configErrors },
    };
    keeper.send({ kind: 'kernel', report: message } satisfies ToKeeper);
  }, REPORT_EVERY_MS);
  const watchdog = notify.ready();
  log.write('info', 'guard.ready', { pid: process.pid });

  await new Promise<void>((resolve) => process.once('SIGTERM', resolve));
  notify.stopping();
  for (const timer of [report, watchdog]) clearInterval(timer);
  deadMan.stop();
  await Promise.all([kernel.stop(), keeper.close()]);
  abort.abort();
  return 0;
}

function refuse(errors: readonly { readonly message: string }[]): number {
  for (const { message } of errors) process.stderr.write(`${message}\n`);
  return 1;
}

function startSwitch(config: Config, supervisor: Supervisor, log: Log): Switch {
  const paths = runPaths(config.gateway.runDir);
  const deadMan = new Switch({
    workers: config.gateway.workers,
    probePath: paths.probe,
    refresh: refreshAlive,
    onSilent: (worker, answeredAt) => {
      const agoMs = answeredAt === undefined ? undefined : systemClock.monotonicMs() - answeredAt;
      supervisor.tell({ silent: worker, ...(agoMs === undefined ? {} : { answeredAt: machineMs() - agoMs }) });
    },
    onTurn: (alive) => log.write(alive ? 'info' : 'error', alive ? 'intercept.alive' : 'intercept.lapsed'),
    clock: systemClock,
  });
  deadMan.start();
  return deadMan;
}

type Told = { readonly onLocks: (locks: readonly Lock[]) => void; readonly onSteps: (steps: readonly Step[]) => void };

/** The keeper may be away: then reports are lost, and locks and steps stay as they were last told. */
function connectKeeper(config: Config, log: Log, signal: AbortSignal, told: Told) {
  return connectChannel<FromKeeper>(
    runPaths(config.gateway.runDir).keeperSocket,
    {
      check: checkFromKeeper,
      onUp(send) {
        send({ kind: 'hello', v: VERSION, role: 'guard' } satisfies ToKeeper);
        log.write('info', 'keeper.up');
      },
      onDown: (reason) => log.write('warn', 'keeper.down', { reason }),
      onMessage(message) {
        if (message.kind === 'locks') told.onLocks(message.locks);
        else if (message.kind === 'steps') told.onSteps(message.steps);
      },
    },
    signal,
  );
}

/** The kernel knows prefixes alone: the lock of a subscriber or tenant is one of each of theirs. */
function inPrefixes(lock: Lock, config: Config): Lock[] {
  if (lock.identity !== undefined) return [];
  if (!/^(?:@|tenant:)/.test(lock.subject)) return [lock];
  return prefixesOfName(config, lock.subject).map(({ text }) => ({ ...lock, subject: text }));
}

type Supervisor = {
  readonly tell: (message: { readonly silent: number; readonly answeredAt?: number }) => void;
  /** reloads that the supervisor refused before any role saw them */
  readonly configRefused: () => number;
};

/** `postern run` at the other end of an inherited descriptor. Under systemd there is none: a unit's watchdog does it. */
function connectSupervisor(fd: string | undefined, log: Log): Supervisor {
  if (fd === undefined || !/^\d+$/.test(fd)) return { tell() {}, configRefused: () => 0 };
  let refused = 0;
  const pipe = new Socket({ fd: Number(fd), readable: true, writable: true });
  pipe.on('error', (error) => log.write('warn', 'supervisor.down', { error: error.message }));
  eachLine(pipe, (line) => {
    if (line.includes('"configRefused"')) refused++;
  });
  return { tell: (message) => void pipe.write(`${JSON.stringify(message)}\n`), configRefused: () => refused };
}
