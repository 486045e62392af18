/**
 * ClamAV: the message as a stream (INSTREAM, clamd(8)), on a connection of its own.
 *
 * What ClamAV has not looked at whole is never "clean": neither what is larger than it is given, nor what is beyond limits of
 * its own, which it says in words like those for a virus.
 */
import { connect, type Socket } from 'node:net';
import type { Service } from '../config/value/net.ts';
import type { Class } from '../policy/classes.ts';
import { Breaker } from './breaker.ts';
import type { Filter, MakeFilter, Mail, Seen } from './filter.ts';
import { Gate } from './gate.ts';
import type { Message } from './message.ts';
import { unstuffed, written } from './octets.ts';

/** Longer answers are none of clamd's. */
const MAX_ANSWER_BYTES = 4096;
const VERSION_EVERY_MS = 10 * 60_000;
const VERSION_TIMEOUT_MS = 10_000;
const LIMITS = /^(?:Heuristics\.Limits\.Exceeded|INSTREAM size limit exceeded)/;

export const clamd = (({ filters: { clamd: config } }, deps): Filter<'body'> | undefined => {
  const { server } = config;
  if (!server) return undefined;
  const breaker = new Breaker('clamd', deps);
  const { log, clock } = deps;
  /** when its definitions were made, in ms since 1970 */
  let madeAt: number | undefined;
  let wasStale = false;
  const readVersion = async (): Promise<void> => {
    try {
      madeAt = definitionsOf(await ask(server, AbortSignal.timeout(VERSION_TIMEOUT_MS), 'zVERSION\0'));
    } catch {
      // That it does not answer is seen from the messages; the age goes on growing.
    }
    const isStale = madeAt !== undefined && clock.nowMs() - madeAt > config.stale;
    if (isStale && !wasStale) log.write('warn', 'definitions.stale', { service: 'clamd', made: madeAt });
    wasStale = isStale;
  };
  void readVersion();
  const timer = setInterval(() => void readVersion(), VERSION_EVERY_MS).unref();

  return {
    name: 'clamd',
    stage: 'body',
    deadlineMs: config.deadline,
    gate: new Gate(config.maxConcurrent),
    async look({ message }: Mail, { signal }) {
      if (message.sizeBytes > config.maxSize) return [unscanned(`${message.sizeBytes} octets`)];
      return seenIn(await breaker.ask(() => scan(server, signal, unstuffed(message.raw()))));
    },
    actionOf: (class_) => (class_ === 'virus.found' ? config.found : config.unscanned),
    failure: config.failure,
    failureFor: ({ message }) => (isText(message) ? config.failureText : config.failure),
    report: () => ({ ...breaker.report(), ...(madeAt !== undefined && { definitionsAt: madeAt }) }),
    close: () => clearInterval(timer),
  };
}) satisfies MakeFilter;

/** By its type a text and nothing else: what a virus is in rarely. */
function isText(message: Message): boolean {
  const types = message.fields().filter(({ name }) => name === 'content-type');
  return types.every(({ value }) => /^text\/plain(?:$|[\s;])/i.test(value));
}

/** `stream: OK`, `stream: NAME FOUND`, or an error, which is thrown. */
function seenIn(answer: string): readonly Seen[] {
  const said = answer.replace(/^stream: /, '');
  if (said === 'OK') return [];
  if (LIMITS.test(said)) return [unscanned(said)];
  const [, name] = /^([\x21-\x7e]{1,200}) FOUND$/.exec(said) ?? [];
  if (name === undefined) throw new Error(`clamd answered ${JSON.stringify(said.slice(0, 200))}`);
  return [finding('virus.found', name, 1)];
}

function unscanned(evidence: string): Seen {
  return finding('virus.unscanned', evidence, 0);
}

function finding(of: Class, evidence: string, score: number): Seen {
  return { filter: 'clamd', name: of.slice('virus.'.length), score, evidence, class: of };
}

/** `ClamAV 1.4.6/27800/Mon Nov 24 09:33:02 2026`: when its daily definitions were made, in ms since 1970. */
export function definitionsOf(version: string): number | undefined {
  const made = Date.parse(version.split('/')[2] ?? '');
  return Number.isNaN(made) ? undefined : made;
}

/**
 * The answer to a stream. One that is too long for it, clamd ends in the middle, and its words can be lost with the connection;
 * if it goes on answering others, that was it.
 */
async function scan(server: Service, signal: AbortSignal, stream: Iterable<Buffer>): Promise<string> {
  try {
    return await ask(server, signal, 'zINSTREAM\0', stream);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['EPIPE', 'ECONNRESET'].includes(code) || (await ask(server, signal, 'zPING\0')) !== 'PONG') throw error;
    return 'INSTREAM size limit exceeded, it seems: the connection was ended in the middle';
  }
}

/** One command, with a stream behind it or without; resolves with the answer, which ends the connection. */
async function ask(server: Service, signal: AbortSignal, command: string, stream?: Iterable<Buffer>): Promise<string> {
  signal.throwIfAborted();
  const socket = connect('path' in server ? { path: server.path } : { host: server.host, port: server.port });
  const stop = (): void => void socket.destroy(new Error('given up'));
  signal.addEventListener('abort', stop, { once: true });
  try {
    const answer = answerOf(socket);
    // Whoever writes into a connection that has ended is told so by the answer, or by its absence.
    send(socket, command, stream).catch(() => {});
    return await answer;
  } finally {
    signal.removeEventListener('abort', stop);
    socket.destroy();
  }
}

/** Each piece with its length before it, the last of length 0; the next when the kernel has the one before. */
async function send(socket: Socket, command: string, stream: Iterable<Buffer> | undefined): Promise<void> {
  await written(socket, Buffer.from(command, 'latin1'));
  if (!stream) return;
  for (const piece of stream) {
    socket.cork();
    socket.write(lengthOf(piece.length));
    const done = written(socket, piece);
    socket.uncork();
    await done;
  }
  await written(socket, lengthOf(0));
}

function lengthOf(bytes: number): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes);
  return length;
}

function answerOf(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > MAX_ANSWER_BYTES) socket.destroy(new Error('clamd says too much'));
      const end = text.indexOf('\0');
      if (end >= 0) resolve(text.slice(0, end));
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('clamd closed without an answer')));
  });
}
