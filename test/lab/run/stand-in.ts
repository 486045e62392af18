/**
 * Stands in for src/main.ts in a code directory of the test's own: plays every role far enough to show how the supervisor
 * starts, watches and ends it. Prints one JSON line for each thing that happens. Imports nothing of the tree, since it
 * is copied out of it.
 */
import { readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { dirname, join } from 'node:path';

const [role = '', ...args] = process.argv.slice(2);
const valueOf = (name: string): string => args[args.indexOf(name) + 1] ?? '';
const name = role === 'worker' ? `worker ${valueOf('--index')}` : role;
const config = valueOf('--config');
const runDir = dirname(config);
/** what a test asks for, by role or by role and what it is to do */
const asked = (process.env['POSTERN_STAND_IN'] ?? '').split(',');

function say(what: string, fields: object = {}): void {
  writeSync(1, `${JSON.stringify({ stand: name, what, pid: process.pid, ...fields })}\n`);
}

function exit(code: number): never {
  say('exit', { code });
  process.exit(code);
}

function tryTo(what: () => void): string {
  try {
    what();
    return 'done';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

function plant(directory: string): void {
  writeFileSync(join(directory, `planted.${process.pid}`), '', { flag: 'wx' });
}

function tell(): void {
  say('start', {
    args,
    status: readFileSync('/proc/self/status', 'utf8'),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8'),
    env: process.env,
    cwd: process.cwd(),
    execPath: process.execPath,
    config: tryTo(() => readFileSync(config)),
    // what a role must not be able to do
    writes: {
      code: tryTo(() => plant(import.meta.dirname)),
      runDir: tryTo(() => plant(runDir)),
      keeperDir: tryTo(() => plant(join(runDir, 'keeper'))),
      spool: tryTo(() => plant(join(runDir, 'spool'))),
    },
  });
}

process.on('SIGHUP', () => say('hup', { text: readFileSync(config, 'utf8') }));

if (role === 'guard' && args.includes('--rules-only')) {
  exit(asked.includes('rules fail') ? 3 : 0);
}
if (role === 'rules') {
  tell();
  exit(0);
}
if (role === 'guard') {
  const pipe = new Socket({ fd: Number(process.env['POSTERN_SUPERVISOR_FD']), readable: true, writable: true });
  pipe.on('data', (chunk) => say('told', { line: String(chunk) }));
  pipe.on('error', () => {});
  if (asked.includes('guard complains')) {
    pipe.write('no JSON\n{"silent":"1"}\n{"silent":3}\n{"silent":0}\n');
    // Worker 1 has answered since it was started, and worker 2 never: it may still be starting.
    const answeredAt = Number(process.hrtime.bigint()) / 1e6;
    setInterval(() => pipe.write(`{"silent":1,"answeredAt":${answeredAt}}\n{"silent":2}\n`), 200);
  }
}
if (role === 'keeper') {
  const path = join(runDir, 'keeper/keeper.sock');
  process.umask(0o117);
  rmSync(path, { force: true });
  createServer((socket) => socket.on('error', () => {}).end('keeper\n')).listen(path);
}

const sessions = new Set<Socket>();
const listening = ['v4', 'v6', 'probe'].map((listener, i) => {
  if (role !== 'worker') return undefined;
  const server = createServer((socket) => {
    sessions.add(socket.on('close', () => sessions.delete(socket)).on('error', () => {}));
    socket.write(`220 ${name} ${listener} ${process.pid}\r\n`);
    socket.once('data', (chunk) => {
      if (String(chunk).startsWith('HANG')) for (;;);
      socket.end('221\r\n');
    });
  });
  return server.listen({ fd: 3 + i });
});

process.on('SIGTERM', () => {
  say('term');
  for (const server of listening) server?.close();
  if (asked.includes(`${name} deaf`)) return;
  const wait = setInterval(() => {
    if (sessions.size > 0) return;
    clearInterval(wait);
    exit(0);
  }, 10);
});
// Said when every handler stands, so that a test may signal at once.
tell();
// A role that has nothing to listen to stays all the same.
setInterval(() => {}, 60_000);
