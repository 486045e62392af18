/**
 * Opens connections at a steady pace, and counts what became of them.
 *
 *     node test/kit/knock-main.ts '{"listen":["198.51.100.10 25"],"knocks":[{"to":"203.0.113.25","port":25,"from":"…","everyMs":50,"must":false}]}'
 *
 * `listen`: answers each connection there with a banner. `must`: a connection that gets no banner within 3 s is a failure.
 * For each line on standard input it prints {"v4":N,"v6":N,"opened":N,"failed":["…"]}: knocks of each family, how many
 * got a banner, and what failed that must not, since the line before. Ends when standard input does.
 */
import { connect, createServer, isIPv6 } from 'node:net';
import { createInterface } from 'node:readline';

type Knock = {
  readonly to: string;
  readonly port: number;
  readonly from: string;
  readonly everyMs: number;
  readonly must: boolean;
};
const orders = JSON.parse(process.argv[2] ?? '{}') as { listen: readonly string[]; knocks: readonly Knock[] };
/** One that must get through has long, for the machine may be busy. */
const DEADLINE_MS = { must: 60_000, may: 3000 };
/** Connections that hang (dropped packets) are given up beyond this, so that the pace is kept. */
const MAX_OPEN = 2000;

let counts = { v4: 0, v6: 0, opened: 0, failed: [] as string[] };
let open = 0;

for (const listen of orders.listen) {
  const [host = '', port = ''] = listen.split(' ');
  createServer((socket) => {
    socket.on('error', () => {});
    socket.end('220 listener\r\n');
  }).listen(Number(port), host);
}

function knock({ to, port, from, must }: Knock): void {
  if (open >= MAX_OPEN) return;
  counts[isIPv6(to) ? 'v6' : 'v4']++;
  open++;
  const begin = Date.now();
  let answered = false;
  const socket = connect({ host: to, port, localAddress: from });
  const timer = setTimeout(() => socket.destroy(new Error('no banner')), must ? DEADLINE_MS.must : DEADLINE_MS.may);
  socket.once('data', () => {
    answered = true;
    counts.opened++;
    socket.destroy();
  });
  let why = 'closed without a banner';
  socket.on('error', (error) => (why = error.message));
  socket.on('close', () => {
    open--;
    clearTimeout(timer);
    if (must && !answered && counts.failed.length < 20) {
      counts.failed.push(`${from} to ${to}:${port} after ${Date.now() - begin} ms: ${why}`);
    }
  });
}

for (const one of orders.knocks) setInterval(() => knock(one), one.everyMs);

createInterface({ input: process.stdin })
  .on('line', () => {
    const told = counts;
    counts = { v4: 0, v6: 0, opened: 0, failed: [] };
    process.stdout.write(`${JSON.stringify(told)}\n`);
  })
  .on('close', () => process.exit(0));
process.stdout.write('ready\n');
