/** The real gateway, `postern run`, in the gateway's namespace: its configuration, its start, its commands, its end. */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { dialChannel } from '../kit/channel.ts';
import { keeperSocket, type Status, VERSION } from '../ledger/language.ts';
import { checkFromKeeper } from '../ledger/language-check.ts';
import type { Namespace, Ran } from './namespace.ts';
import { PLACED, type Place } from './script.ts';

export const GATEWAY_NAME = 'gw1.example.net';
export const METRICS = '127.0.0.1:9125';
export const PANEL = '127.0.0.1:8025';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));
const READY_MS = 120_000;
const POLL_MS = 50;
const ASK_MS = 2_000;
const STOP_MS = 5_000;
const CLI_MS = 60_000;

export type Gateway = {
  readonly configPath: string;
  readonly logPath: string;
  /** the supervisor's process */
  readonly pid: number;
  /** undefined while the keeper cannot be asked */
  readonly status: () => Promise<Status | undefined>;
  /** `postern NAME ARGS --config F` in the gateway's namespace */
  readonly postern: (name: string, ...args: readonly string[]) => Promise<Ran>;
  /** The panel's user `lab`, who may do all; resolves with the password. */
  readonly addUser: () => Promise<string>;
  /** SIGTERM, and SIGKILL to what is left after 5 s */
  readonly stop: () => Promise<void>;
  /** resolves when the supervisor has ended, with how */
  readonly ended: Promise<string>;
};

/** What the lab's gateway runs with; printed as it is. */
export function labConfig(directory: string, smarthost: { servers: readonly string[]; caFile: string }): string {
  const list = (texts: readonly string[]): string => `[${texts.map((text) => JSON.stringify(text)).join(', ')}]`;
  const networks = Object.values(PLACED).map(
    (each: Place) =>
      `[[network]]\nname = "${each.network}"\nprefixes = ${list(each.prefixes)}\nmode = "${each.mode}"\n` +
      (each.egress ? `egress = "${each.egress}"\n` : ''),
  );
  return [
    `[gateway]\nname = "${GATEWAY_NAME}"\nstate_dir = "${join(directory, 'state')}"\nrun_dir = "${join(directory, 'run')}"`,
    'workers = 2\ndrain = "1s"\n',
    '[intercept]\ninside = ["lan0"]\n',
    `[smarthost]\nservers = ${list(smarthost.servers)}\ntls = "verify"\nca_file = "${smarthost.caFile}"\n`,
    ...networks,
    `[metrics]\nlisten = "${METRICS}"\n`,
    `[panel]\nlisten = "${PANEL}"\napply = true\n`,
  ].join('\n');
}

/** Write the configuration and start the gateway, `main` being its program. Use `untilReady` to wait for it. */
export function startGateway(where: Namespace, directory: string, config: string, main = MAIN): Gateway {
  const configPath = join(directory, 'postern.toml');
  const logPath = join(directory, 'gateway.log');
  writeFileSync(configPath, config);
  const log = openSync(logPath, 'a');
  const child = where.spawn(process.execPath, [main, 'run', '--config', configPath], { stdio: ['ignore', log, log] });
  closeSync(log);
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ?? `status ${code}`));
  });
  return {
    configPath,
    logPath,
    ended,
    pid: child.pid ?? 0,
    status: () => askStatus(keeperSocket(join(directory, 'run'))),
    postern: (name, ...args) =>
      where.run(process.execPath, [MAIN, name, ...args, '--config', configPath], { deadlineMs: CLI_MS }),
    async addUser() {
      const password = randomBytes(12).toString('base64url');
      const args = [MAIN, 'user', 'add', 'lab', '--admin', '--config', configPath];
      const ran = await where.run(process.execPath, args, { input: `${password}\n`, deadlineMs: CLI_MS });
      if (ran.code !== 0) throw new Error(`postern user failed: ${(ran.stderr || ran.stdout).trim()}`);
      return password;
    },
    stop: () => stop(child),
  };
}

/**
 * Resolves when connections are intercepted, every worker is there and a smarthost, if any, is known. Rejects when the gateway
 * ends before, or is not ready in time, with the last lines of its log.
 */
export async function untilReady(gateway: Gateway, signal: AbortSignal, readyMs = READY_MS): Promise<Status> {
  const deadline = performance.now() + readyMs;
  let ended: string | undefined;
  void gateway.ended.then((how) => (ended = how));
  let lacks = 'its keeper does not answer';
  while (performance.now() < deadline) {
    signal.throwIfAborted();
    if (ended !== undefined) throw new Error(`the gateway ended (${ended}):\n${lastLines(gateway.logPath)}`);
    const status = await gateway.status();
    if (status) {
      const { workers, upstream } = status;
      if (!status.intercepting) lacks = `not intercepting: ${status.problem ?? 'no reason given'}`;
      else if (workers.connected.length < workers.configured) lacks = 'not all workers are there';
      // Each worker offers its hosts only what it has itself seen of the smarthost.
      else if (upstream.length > 0 && !upstream.some(({ up }) => up >= workers.configured))
        lacks = 'no smarthost is up for every worker';
      else return status;
    }
    await sleep(POLL_MS);
  }
  throw new Error(`the gateway is not ready after ${readyMs / 1000} s, ${lacks}:\n${lastLines(gateway.logPath)}`);
}

export function lastLines(path: string, count = 15): string {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
  } catch (error) {
    return (error as Error).message;
  }
}

/** One question over a connection of its own: the keeper may be gone or not there yet, and then nothing is known. */
async function askStatus(path: string): Promise<Status | undefined> {
  let answer: (status: Status | undefined) => void = () => {};
  const answered = new Promise<Status | undefined>((resolve) => {
    answer = resolve;
  });
  const timer = setTimeout(() => answer(undefined), ASK_MS);
  try {
    const peer = await dialChannel(path, {
      check: checkFromKeeper,
      onMessage: (message) => {
        if (message.kind === 'answer') answer(message.ok ? (message.value as Status) : undefined);
      },
      onDown: () => answer(undefined),
    });
    peer.send({ kind: 'hello', v: VERSION, role: 'cli' });
    peer.send({ kind: 'ask', ask: 1, question: { of: 'status' } });
    const status = await answered;
    await peer.close();
    return status;
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  try {
    await once(child, 'exit', { signal: AbortSignal.timeout(STOP_MS) });
  } catch {
    child.kill('SIGKILL');
  }
}
