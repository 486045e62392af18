/**
 * A real worker process on loopback listeners that outlive it, as the supervisor keeps them; without kernel, and with a
 * keeper that admits everybody and knows no locks (without one a worker waits a second before it accepts).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Handlers, listenChannel, type Peer } from '../../src/kit/channel.ts';
import { openListener, openUnixListener } from '../../src/kit/native-socket.ts';
import { runPaths } from '../../src/kit/run-dir.ts';
import type { FromKeeper, ToKeeper } from '../../src/ledger/language.ts';
import { checkToKeeper } from '../../src/ledger/language-check.ts';

import { makeIssuer } from './issuer.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

export type TestWorker = {
  readonly port: number;
  /** the certificate of the authority behind what hosts are shown */
  readonly ca: string;
  readonly pid: number;
  /** how often it was started */
  readonly starts: number;
  /** SIGKILL; it is started again at once, and its listeners stay open. */
  kill(): void;
  /** Resolves with the status of the worker that runs now when it has ended by itself; the next one is started. */
  ended(): Promise<number | null>;
  /** Resolves when the worker that runs now, or is being started, is ready. */
  ready(): Promise<void>;
  close(): Promise<void>;
};

/** `tables` are more lines for a table of the configuration, `network` among them. */
export async function startWorker(
  servers: readonly string[],
  tables: Readonly<Record<string, string>> = {},
): Promise<TestWorker> {
  const dir = mkdtempSync(join(tmpdir(), 'postern-worker-'));
  const runDir = join(dir, 'run');
  mkdirSync(runPaths(runDir).spoolDir, { recursive: true });
  const config = join(dir, 'postern.toml');
  writeFileSync(
    config,
    [
      `[gateway]\nname = "gw1.example.net"\nrun_dir = "${runDir}"\nstate_dir = "${dir}"\nworkers = 1\n${tables['gateway'] ?? ''}`,
      '[intercept]\ninside = ["lan0"]',
      `[smarthost]\nservers = [${servers.map((s) => `"${s}"`).join(', ')}]\n${/^tls = /m.test(tables['smarthost'] ?? '') ? '' : 'tls = "none"\n'}${tables['smarthost'] ?? ''}`,
      `[limits]\n${tables['limits'] ?? ''}`,
      `[[network]]\nname = "loopback"\nprefixes = ["127.0.0.0/8", "::1/128"]\n${tables['network'] ?? 'max_connections = 100000'}`,
    ].join('\n'),
  );
  const { certificatePem: ca = '' } = makeIssuer(dir, runPaths(runDir).issuer);
  const port = await freePort();
  const tcp = { port, transparent: false, reusePort: true, backlog: 4096 } as const;
  const fds = [
    openListener({ family: 4, address: '127.0.0.1', ...tcp }),
    openListener({ family: 6, address: '::1', ...tcp }),
    openUnixListener({ path: runPaths(runDir).probe(1), mode: 0o600, gid: process.getgid?.() ?? 0, backlog: 16 }),
  ];

  const keeper = new AbortController();
  await listenChannel<ToKeeper>(runPaths(runDir).keeperSocket, { mode: 0o600, onConnection: admitting }, keeper.signal);

  let child: ChildProcess;
  let ready: Promise<void>;
  /** the status of the worker that runs now, when it has ended */
  let exited: Promise<number | null>;
  let closing = false;
  let starts = 0;
  const start = (): void => {
    starts++;
    // exec keeps the process id, so LISTEN_PID is the worker's.
    child = spawn(
      'sh',
      ['-c', 'exec env LISTEN_PID=$$ "$@"', 'sh', process.execPath, MAIN, 'worker', '--config', config, '--index', '1'],
      {
        stdio: ['ignore', 'pipe', 'inherit', ...fds],
        env: { ...process.env, LISTEN_FDS: '3', NODE_TEST_CONTEXT: undefined },
      },
    );
    const own = child;
    ready = new Promise((resolve) => {
      createInterface({ input: own.stdout as NodeJS.ReadableStream }).on('line', (line) => {
        if (line.includes('"event":"worker.ready"')) resolve();
      });
    });
    exited = once(own, 'exit').then(([code]) => code as number | null);
    own.once('exit', (code) => {
      // Killed, or told to end: what tests do to it. Another status is a fault.
      if (!closing && (code === null || code === 0)) start();
      else if (!closing) throw new Error(`the worker ended with status ${code}`);
    });
  };
  start();

  const worker: TestWorker = {
    port,
    ca,
    get pid() {
      return child.pid as number;
    },
    get starts() {
      return starts;
    },
    kill() {
      ready = exited.then(() => {});
      child.kill('SIGKILL');
    },
    ended() {
      ready = exited.then(() => {});
      return exited;
    },
    async ready() {
      // It may be killed and replaced while one waits.
      for (let seen = 0; seen !== starts; ) {
        seen = starts;
        await Promise.race([ready, exited]);
      }
    },
    async close() {
      closing = true;
      child.kill('SIGKILL');
      await exited;
      keeper.abort();
      for (const fd of fds) closeSync(fd);
      rmSync(dir, { recursive: true, force: true });
    },
  };
  await worker.ready();
  return worker;
}

function admitting(peer: Peer): Handlers<ToKeeper> {
  const say = (message: FromKeeper): void => void peer.send(message);
  return {
    check: checkToKeeper,
    onMessage(message) {
      if (message.kind === 'hello') say({ kind: 'locks', locks: [] });
      else if (message.kind === 'admit')
        say({ kind: 'admitted', answers: message.asks.map(({ ask }) => ({ ask, ok: true })) });
    },
    onDown() {},
  };
}

/** One that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
