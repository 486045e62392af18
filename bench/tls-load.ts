/**
 * Hosts with TLS, as a process: `node tls-load.ts OPTIONS`, with `LoadTlsOptions` as JSON; prints `LoadTlsResult`.
 *
 * Each session is a connection of its own with a whole handshake, nothing resumed. It ends after EHLO inside TLS, or after a
 * message. As the host beside them, a process of its own, it says NOOP every few milliseconds over one connection in clear: what it
 * waits is what the others cost it.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';

export type LoadTlsOptions = {
  readonly host: string;
  readonly port: number;
  readonly seconds: number;
  /** sessions at once, one after the other; or so many in a second, whatever is under way */
  readonly connections?: number;
  readonly perSecond?: number;
  readonly sizeBytes?: number;
  /** each session asks for another name */
  readonly isEachNew?: boolean;
  /** the host beside them */
  readonly isBeside?: boolean;
};

export type LoadTlsResult = {
  /** NOOPs, of the host beside */
  readonly sessions: number;
  readonly failed: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

const BESIDE_EVERY_MS = 5;
const SESSION_MS = 20_000;
/** As the stage has them: none is over what the kernel lets one open in a second. */
const SOURCES = 250;

const options = JSON.parse(process.argv[2] ?? '{}') as LoadTlsOptions;
const { host, port, seconds, sizeBytes } = options;
const LINE = `${'x'.repeat(76)}\r\n`;
const message = `From: a@example.org\r\nDate: Wed, 25 Nov 2026 09:00:00 +0000\r\n\r\n${LINE.repeat(Math.ceil((sizeBytes ?? 0) / LINE.length))}.\r\n`;
let names = 0;
let sessions = 0;

/** The code of the next whole reply. */
function replyOf(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let heard = '';
    const end = (error?: Error): void => {
      socket.off('data', take);
      socket.off('error', end);
      socket.off('close', end);
      if (error instanceof Error) reject(error);
      else if (/^\d{3} [^\n]*\n/m.test(heard))
        resolve(heard.slice(heard.lastIndexOf('\n', heard.length - 2) + 1).slice(0, 3));
      else reject(new Error('closed'));
    };
    const take = (chunk: Buffer): void => {
      heard += chunk.toString('latin1');
      if (/^\d{3} [^\n]*\n$/m.test(heard)) end();
    };
    socket.on('data', take).on('error', end).on('close', end);
  });
}

async function ask(socket: Socket, line: string, wanted: string): Promise<void> {
  const reply = replyOf(socket);
  socket.write(line);
  const code = await reply;
  if (code !== wanted) throw new Error(`${line.slice(0, 20)}: ${code}`);
}

async function session(): Promise<void> {
  const localAddress = `192.0.2.${1 + (sessions++ % SOURCES)}`;
  const clear = connect({ host, port, localAddress, noDelay: true });
  clear.on('error', () => {});
  clear.setTimeout(SESSION_MS, () => clear.destroy(new Error('late')));
  let socket: Socket = clear;
  try {
    const banner = replyOf(clear);
    await once(clear, 'connect');
    if ((await banner) !== '220') throw new Error('banner');
    await ask(clear, 'EHLO host.example.org\r\n', '250');
    await ask(clear, 'STARTTLS\r\n', '220');
    const servername = options.isEachNew ? `mx${names++}.p${process.pid}.example.org` : 'mx.example.org';
    socket = connectTls({ socket: clear, servername, rejectUnauthorized: false });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    await ask(socket, 'EHLO host.example.org\r\n', '250');
    if (sizeBytes !== undefined) {
      await ask(socket, 'MAIL FROM:<a@example.org>\r\n', '250');
      await ask(socket, 'RCPT TO:<b@example.net>\r\n', '250');
      await ask(socket, 'DATA\r\n', '354');
      await ask(socket, message, '250');
    }
    await ask(socket, 'QUIT\r\n', '221');
  } finally {
    socket.destroy();
    clear.destroy();
  }
}

const endMs = performance.now() + seconds * 1000;
const tookMs: number[] = [];
let failed = 0;
async function one(): Promise<void> {
  const beganMs = performance.now();
  try {
    await session();
    tookMs.push(performance.now() - beganMs);
  } catch (error) {
    if (failed++ === 0) process.stderr.write(`${String(error)}\n`);
  }
}

async function beside(): Promise<void> {
  const socket = connect({ host, port, noDelay: true });
  const banner = replyOf(socket);
  await once(socket, 'connect');
  await banner;
  await ask(socket, 'EHLO beside.example.org\r\n', '250');
  while (performance.now() < endMs) {
    const beganAtMs = performance.now();
    await ask(socket, 'NOOP\r\n', '250');
    tookMs.push(performance.now() - beganAtMs);
    await sleep(BESIDE_EVERY_MS);
  }
  socket.destroy();
}

async function all(): Promise<void> {
  if (options.perSecond === undefined) {
    const chain = async (): Promise<void> => {
      while (performance.now() < endMs) await one();
    };
    await Promise.all(Array.from({ length: options.connections ?? 1 }, chain));
    return;
  }
  const begun: Promise<void>[] = [];
  const startMs = performance.now();
  for (let due = 0; performance.now() < endMs; ) {
    while (due < ((performance.now() - startMs) / 1000) * options.perSecond) {
      due++;
      begun.push(one());
    }
    await sleep(1);
  }
  await Promise.all(begun);
}

const beganMs = performance.now();
await (options.isBeside ? beside() : all());
const perSecond = tookMs.length / ((performance.now() - beganMs) / 1000);
tookMs.sort((a, b) => a - b);
const at = (part: number): number => tookMs[Math.floor((tookMs.length - 1) * part)] ?? Number.NaN;
const result: LoadTlsResult = { sessions: tookMs.length, failed, perSecond, p50Ms: at(0.5), p99Ms: at(0.99) };
process.stdout.write(`${JSON.stringify(result)}\n`);
