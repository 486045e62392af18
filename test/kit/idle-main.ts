/**
 * Opens many connections, waits for each banner, and holds them until standard input ends.
 *
 *     node test/kit/idle-main.ts TO PORT COUNT SOURCE…
 *
 * Prints {"open":N,"refused":N,"first":"…"} when all have an answer (`first` is the first banner that was no 220), and at the
 * end {"held":N}: how many were still open.
 */
import { connect, type Socket } from 'node:net';

const [to = '', port = '', count = '', ...sources] = process.argv.slice(2);
const AT_ONCE = 250;
const held = new Set<Socket>();
let refused = 0;
let first = '';

function open(i: number): Promise<void> {
  return new Promise((resolve) => {
    const localAddress = sources[i % sources.length];
    const socket = connect({ host: to, port: Number(port), ...(localAddress !== undefined && { localAddress }) });
    const no = (why: string): void => {
      refused++;
      first ||= why;
      socket.destroy();
      resolve();
    };
    const onError = (error: Error): void => no(error.message);
    socket.once('error', onError);
    socket.once('data', (chunk: Buffer) => {
      const banner = chunk.toString('latin1');
      if (!banner.startsWith('220')) return no(banner.trim());
      socket.off('error', onError);
      socket.on('error', () => {});
      held.add(socket);
      socket.on('close', () => held.delete(socket));
      resolve();
    });
  });
}

const total = Number(count);
for (let at = 0; at < total; at += AT_ONCE) {
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, total - at) }, (_, i) => open(at + i)));
}
process.stdout.write(`${JSON.stringify({ open: held.size, refused, first })}\n`);
process.stdin.resume();
process.stdin.once('end', () => {
  process.stdout.write(`${JSON.stringify({ held: held.size })}\n`, () => process.exit(0));
});
