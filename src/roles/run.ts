/**
 * The supervisor of a checkout: does as root what systemd does when installed, and nothing else.
 *
 * It opens the listeners, puts the rules into the kernel, starts guard, keeper and workers as their own users and keeps
 * them running. It reads no byte of mail. If it dies, the roles are told to end by the kernel and the rules stand.
 */
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { egressNeedsRestart, keepsSource } from '../config/egress.ts';
import { loadConfig } from '../config/load.ts';
import { system } from '../config/outside.ts';
import type { Config } from '../config/schema.ts';
import { goBackIfOver } from '../config/trial.ts';
import { openWorkerListeners, portIsTaken, type WorkerListeners } from '../guard/listeners.ts';
import { type Fields, type Level, logLine } from '../kit/log.ts';
import { type LineSink, lineSink } from '../kit/output.ts';
import { runPaths } from '../kit/run-dir.ts';
import { sharedGroup } from '../kit/users.ts';
import { makeDirectories, refuseUnreadableCode, writeCheckedConfig } from './directories.ts';
import { Kept } from './kept.ts';
import { type Launch, launchOf, type Program } from './launch.ts';
import { eachBlock, eachLine } from './lines.ts';
import { watchWishes } from './wishes.ts';

const RULES_TIMEOUT_MS = 30_000;
const PORT_TIMEOUT_MS = 3_000;
/** beyond gateway.drain, after which a worker has said 421 to everybody */
const DRAIN_GRACE_MS = 5_000;
const ROLE_STOP_MS = 5_000;

export type SuperviseOptions = {
  readonly configPath: string;
  readonly program: Omit<Program, 'runDir' | 'keepsSource'>;
  readonly removeRulesOnExit: boolean;
};

/** Runs the gateway until SIGTERM or SIGINT. The exit status: 0 stopped as asked, 1 not started, 130 ended at once. */
export async function supervise(options: SuperviseOptions): Promise<number> {
  const sinks = { out: lineSink(1), err: lineSink(2) };
  process.once('exit', () => {
    sinks.out.writeRest();
    sinks.err.writeRest();
  });
  const say = (text: string): void => sinks.err.line(`postern run: ${text}`);
  try {
    if (goBackIfOver(options.configPath))
      say(`${options.configPath} is as it was before: nobody waits for the end of its trial any more`);
    // A start must not depend on whether names resolve just now; a reload may wait until they do.
    const loaded = await loadConfig(options.configPath, { file: system.file, keyPair: system.keyPair });
    if (!loaded.ok) {
      for (const { message } of loaded.errors) sinks.err.line(message);
      return 1;
    }
    if (process.getuid?.() !== 0) {
      say('needs root: it opens the listeners and starts each role as its own user, which then has no rights left');
      return 1;
    }
    const text = readFileSync(options.configPath, 'utf8');
    return await new Supervisor(options, loaded.config, sinks).run(text);
  } catch (error) {
    say((error as Error).message);
    return 1;
  } finally {
    await Promise.race([sinks.out.flushed().then(sinks.err.flushed), sleep(1_000)]);
  }
}

class Supervisor {
  readonly #options: SuperviseOptions;
  readonly #first: Config;
  #config: Config;
  readonly #program: Program;
  readonly #out: LineSink;
  readonly #err: LineSink;
  readonly #stop = new AbortController();
  #listeners: WorkerListeners[] = [];
  #workers: Kept[] = [];
  #keeper: Kept | undefined;
  #guard: Kept | undefined;
  /** tells the guard; replaced with each guard */
  #toGuard: ((line: object) => void) | undefined;
  #reloading = Promise.resolve();

  constructor(options: SuperviseOptions, config: Config, sinks: { readonly out: LineSink; readonly err: LineSink }) {
    this.#options = options;
    this.#first = config;
    this.#config = config;
    this.#program = { ...options.program, runDir: config.gateway.runDir, keepsSource: keepsSource(config) };
    this.#out = sinks.out;
    this.#err = sinks.err;
  }

  async run(configText: string): Promise<number> {
    process.umask(0o022);
    const { runDir, stateDir, workers } = this.#config.gateway;
    refuseUnreadableCode(this.#program.codeDir, this.#program.nodePath);
    makeDirectories(runDir, stateDir);
    writeCheckedConfig(runDir, configText, this.#config.subscribers.directory);

    const stop = this.#stop.signal;
    const onTerm = (): void => this.#stop.abort();
    const onInt = (): void => (stop.aborted ? this.#endAtOnce() : this.#stop.abort());
    const onHup = (): void => void (this.#reloading = this.#reloading.then(() => this.#reload()));
    process.on('SIGTERM', onTerm).on('SIGINT', onInt).on('SIGHUP', onHup);
    try {
      await this.#waitForPort();
      // First the rules, then anything that serves: at no moment is a host neither taken nor refused.
      if (!stop.aborted) await this.#once(['guard', '--rules-only'], 'the rules could not be put into the kernel');
      if (!stop.aborted) {
        this.#startRoles();
        watchWishes({
          ...this.#options,
          config: () => this.#config,
          say: (...said) => this.#log(...said),
          signal: stop,
        });
        this.#log('info', 'run.started', { workers, config: this.#options.configPath });
        await new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }));
      }
      await this.#stopRoles();
      return 0;
    } finally {
      for (const { close } of this.#listeners) close();
      process.off('SIGTERM', onTerm).off('SIGINT', onInt).off('SIGHUP', onHup);
    }
  }

  /** An earlier gateway's workers may still be on their way out. */
  async #waitForPort(): Promise<void> {
    const { port } = this.#config.intercept;
    const deadline = performance.now() + PORT_TIMEOUT_MS;
    for (; portIsTaken(port) && !this.#stop.signal.aborted; await sleep(50)) {
      if (performance.now() > deadline)
        throw new Error(
          `intercept.port ${port} is in use, perhaps by another gateway; see who: ss -ltnp 'sport = ${port}'`,
        );
    }
  }

  /** Runs `postern ARGS` as the guard's user to its end. */
  async #once(args: readonly string[], failure: string): Promise<void> {
    const launch = this.#launch('guard', args);
    const child = spawn(launch.file, launch.args, {
      cwd: '/',
      env: { ...launch.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      timeout: RULES_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    this.#passOn(args.join(' '), child.stdout, child.stderr);
    const ended = await new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('close', (code, signal) => resolve(signal ?? String(code)));
    });
    if (ended !== '0') throw new Error(`${failure}: postern ${args.join(' ')} ended with ${ended}`);
  }

  #startRoles(): void {
    const { runDir, workers } = this.#config.gateway;
    const { port } = this.#config.intercept;
    const { gid } = sharedGroup();
    for (let worker = 1; worker <= workers; worker++) {
      this.#listeners.push(openWorkerListeners({ worker, port, runDir, gid }));
    }
    this.#guard = this.#keep('guard', this.#launch('guard', ['guard'], { POSTERN_SUPERVISOR_FD: '3' }), ['pipe']);
    this.#keeper = this.#keep('keeper', this.#launch('keeper', ['keeper']));
    this.#workers = this.#listeners.map(({ fds }, i) => {
      const launch = this.#launch('worker', ['worker', '--index', String(i + 1)], { LISTEN_FDS: String(fds.length) });
      return this.#keep(`worker ${i + 1}`, launch, fds);
    });
  }

  #launch(role: Parameters<typeof launchOf>[0], args: readonly string[], env: Record<string, string> = {}): Launch {
    const [command = '', ...rest] = args;
    const { config } = runPaths(this.#program.runDir);
    return launchOf(role, [command, '--config', config, ...rest], this.#program, env);
  }

  #keep(name: string, launch: Launch, more: readonly (number | 'pipe')[] = []): Kept {
    return new Kept({
      launch,
      stdio: () => ['ignore', 'pipe', 'pipe', ...more],
      onStart: (child) => {
        this.#log('info', 'role.started', { name, pid: child.pid });
        this.#passOn(name, child.stdout, child.stderr);
        if (name === 'guard') this.#listenToGuard(child.stdio[3] as Socket | undefined);
      },
      onEnd: ({ pid, code, signal, error, livedMs, restartInMs }) => {
        const level = restartInMs === undefined ? 'info' : 'warn';
        this.#log(level, 'role.ended', { name, pid, code, signal, error, livedMs, restartInMs });
      },
    });
  }

  /**
   * What the guard asks of us, one JSON object a line: `{"silent":N,"answeredAt":MS}`, worker N does not answer its probe,
   * and did last at that time of the machine's clock, if ever.
   */
  #listenToGuard(pipe: Socket | undefined): void {
    if (!pipe) return;
    this.#toGuard = (line) => void (pipe.writable && pipe.write(`${JSON.stringify(line)}\n`));
    eachLine(pipe, (line) => {
      let silent: unknown;
      let answeredAt: unknown;
      try {
        ({ silent, answeredAt } = JSON.parse(String(line)) as { silent?: unknown; answeredAt?: unknown });
      } catch {
        // not ours to judge: it is logged below
      }
      const worker = Number.isInteger(silent) ? this.#workers[(silent as number) - 1] : undefined;
      if (!worker) this.#log('warn', 'guard.unknown', { line: String(line) });
      else this.#killSilent(worker, silent as number, typeof answeredAt === 'number' ? answeredAt : undefined);
    });
  }

  #killSilent(worker: Kept, index: number, answeredAt: number | undefined): void {
    const { ageMs } = worker;
    if (this.#stop.signal.aborted || ageMs === undefined || ageMs < worker.patienceMs(answeredAt)) return;
    this.#log('error', 'worker.silent', { worker: index });
    worker.signal('SIGKILL');
  }

  /** A valid configuration goes to every role; an invalid one changes nothing but the guard's count of such. */
  async #reload(): Promise<void> {
    const { configPath } = this.#options;
    try {
      const text = readFileSync(configPath, 'utf8');
      const loaded = await loadConfig(configPath);
      if (!loaded.ok) return this.#refuseReload(loaded.errors.map(({ message }) => message));
      const errors = this.#fixedKeyErrors(loaded.config);
      if (errors.length > 0) return this.#refuseReload(errors);
      writeCheckedConfig(this.#program.runDir, text, loaded.config.subscribers.directory);
      this.#config = loaded.config;
    } catch (error) {
      return this.#refuseReload([(error as Error).message]);
    }
    this.#log('info', 'config.reloaded', { config: configPath });
    for (const role of [this.#guard, this.#keeper, ...this.#workers]) role?.signal('SIGHUP');
  }

  #refuseReload(errors: readonly string[]): void {
    for (const error of errors) this.#log('error', 'config.refused', { error });
    this.#toGuard?.({ configRefused: errors.length });
  }

  /** What listeners and directories were made from stays as it was until a restart. */
  #fixedKeyErrors(next: Config): string[] {
    const keys = [
      ['gateway.run_dir', this.#config.gateway.runDir, next.gateway.runDir],
      ['gateway.state_dir', this.#config.gateway.stateDir, next.gateway.stateDir],
      ['gateway.workers', this.#config.gateway.workers, next.gateway.workers],
      ['intercept.port', this.#config.intercept.port, next.intercept.port],
    ] as const;
    const errors = keys
      .filter(([, was, is]) => was !== is)
      .map(([key, was, is]) => `${key} = ${is}: was ${was}, and changes only with a restart; nothing was reloaded`);
    const egress = egressNeedsRestart(this.#first, next);
    return egress === undefined ? errors : [...errors, egress];
  }

  /** Workers first, so that what they still say is recorded; the rules stay. */
  async #stopRoles(): Promise<void> {
    const { drain, runDir } = this.#config.gateway;
    this.#log('info', 'run.stopping', { drainMs: drain });
    // A listener that nobody will serve again must not take connections that then wait for nothing.
    for (const { close } of this.#listeners) close();
    for (let worker = 1; worker <= this.#workers.length; worker++)
      rmSync(runPaths(runDir).probe(worker), { force: true });
    await Promise.all(this.#workers.map((worker) => worker.stop(drain + DRAIN_GRACE_MS)));
    await this.#keeper?.stop(ROLE_STOP_MS);
    await this.#guard?.stop(ROLE_STOP_MS);
    if (this.#options.removeRulesOnExit) await this.#once(['rules', '--remove'], 'the rules could not be removed');
    else {
      this.#err.line(
        `postern run: stopped. The kernel rules stand: port 25 stays shut for networks with fail = "closed".\n` +
          `To take them away: postern rules --remove`,
      );
    }
    this.#log('info', 'run.stopped');
  }

  #endAtOnce(): never {
    for (const role of [...this.#workers, this.#keeper, this.#guard]) role?.signal('SIGKILL');
    process.exit(130);
  }

  #passOn(name: string, stdout: Readable | null, stderr: Readable | null): void {
    if (stdout) eachBlock(stdout, (lines) => this.#out.block(lines));
    if (stderr) eachLine(stderr, (line) => this.#err.line(`${name}: ${line.toString()}`));
  }

  #log(level: Level, event: string, fields?: Fields): void {
    this.#out.line(logLine('run', level, event, fields));
  }
}
