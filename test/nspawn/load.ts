/**
 * Hosts that send one small mail after the other, without pause and without mercy, at least LEAST of them and until standard
 * input ends: then one JSON line for all.
 *
 *     node load.ts LEAST SERVER4 SERVER6 SOURCE...
 */
import { connect } from 'node:net';
import { setInterval } from 'node:timers/promises';

export type Sent = {
  readonly id: string;
  readonly at: number;
  /** the reply to the final dot, or the one that ended the session, or an error's code */
  readonly outcome: string;
  /** from connect to banner */
  readonly waitedMs: number | undefined;
};

/** 50 a second */
const EVERY_MS = 20;
/** far above what a host must ever wait here, below what it would wait by RFC 5321 section 4.5.3.2 */
const PATIENCE_MS = 60_000;
const [least = '', server4 = '', server6 = '', ...sources] = process.argv.slice(2);

function send(id: string, source: string): Promise<Sent> {
  return new Promise((resolve) => {
    const at = performance.now();
    let waitedMs: number | undefined;
    let heard = '';
    const socket = connect({ host: source.includes(':') ? server6 : server4, port: 25, localAddress: source });
    const finish = (outcome: string): void => {
      socket.destroy();
      resolve({ id, at, outcome, waitedMs });
    };
    const timer = setTimeout(finish, PATIENCE_MS, 'timeout');
    const steps = [
      'EHLO host.customer.example',
      `MAIL FROM:<${id}@customer.example>`,
      'RCPT TO:<someone@example.org>',
      'DATA',
      `From: <${id}@customer.example>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <${id}@customer.example>\r\nSubject: ${id}\r\n\r\nHello\r\n.`,
    ];
    socket.on('data', (chunk) => {
      heard += String(chunk);
      const reply = /^(\d{3}) .*\r\n$/m.exec(heard)?.[0];
      if (reply === undefined) return;
      waitedMs ??= performance.now() - at;
      const next = steps.shift();
      if (next === undefined || !/^[23]/.test(reply)) finish(heard.trim().split('\r\n').at(-1) ?? '');
      else socket.write(`${next}\r\n`);
      heard = '';
    });
    socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message));
    socket.on('close', () => {
      clearTimeout(timer);
      finish('closed');
    });
  });
}

const all: Promise<Sent>[] = [];
process.stdin.resume();
for await (const _ of setInterval(EVERY_MS)) {
  const source = sources[all.length % sources.length] ?? '';
  all.push(send(`${process.pid}.${all.length}`, source));
  if (process.stdin.readableEnded && all.length >= Number(least)) break;
}
process.stdout.write(`${JSON.stringify(await Promise.all(all))}\n`, () => process.exit(0));
