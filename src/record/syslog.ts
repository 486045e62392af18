/**
 * Lines to a syslog server: by UDP, each sent and forgotten, or over a connection by TCP or TLS (RFC 6587 octet counting), on
 * which lines wait while it is away. As many wait as are bounded, here and for its name; what is lost is counted.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { connect, isIPv6, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Log } from '../kit/log.ts';

export type SyslogTarget = {
  readonly host: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp' | 'tls';
  /** authorities of the server's certificate, in PEM; undefined: the system's */
  readonly caFile: string | undefined;
};

const MAX_WAITING = 10_000;
const MAX_UNSENT_BYTES = 4 << 20;
const CONNECT_MS = 10_000;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;

export class Syslog {
  readonly #target: SyslogTarget;
  readonly #log: Log;
  readonly #udp: UdpSocket | undefined;
  readonly #waiting: string[] = [];
  #socket: Socket | undefined;
  #isConnected = false;
  #isDown = false;
  #retryMs = FIRST_RETRY_MS;
  #timer: NodeJS.Timeout | undefined;
  #closing = false;
  #dropped = 0;
  /** datagrams that wait for the server's name to resolve, or for the kernel */
  #underWay = 0;

  constructor(target: SyslogTarget, log: Log) {
    this.#target = target;
    this.#log = log;
    if (target.transport === 'udp') {
      this.#udp = createSocket(isIPv6(target.host) ? 'udp6' : 'udp4');
      this.#udp.on('error', (error) => this.#down(error.message)).unref();
    } else this.#connect();
  }

  /** Lines that did not leave. */
  get dropped(): number {
    return this.#dropped;
  }

  send(line: string): void {
    if (this.#closing || this.#underWay >= MAX_WAITING) {
      this.#dropped++;
      return;
    }
    if (this.#udp) {
      this.#underWay++;
      this.#udp.send(line, this.#target.port, this.#target.host, (error) => {
        this.#underWay--;
        if (error) {
          this.#dropped++;
          this.#down(error.message);
        } else this.#isDown = false;
      });
      return;
    }
    const socket = this.#isConnected && this.#waiting.length === 0 ? this.#socket : undefined;
    if (socket && socket.writableLength < MAX_UNSENT_BYTES) this.#write(line);
    else if (this.#waiting.length < MAX_WAITING) this.#waiting.push(line);
    else this.#dropped++;
  }

  /** What waits and cannot leave within a second is dropped. */
  async close(): Promise<void> {
    if (!this.#closing) this.#udp?.close();
    this.#closing = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#dropped += this.#waiting.splice(0).length;
    if (!socket || socket.destroyed) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => socket.destroy(), 1_000);
      socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      socket.end();
    });
  }

  #write(line: string): void {
    this.#socket?.write(`${Buffer.byteLength(line)} ${line}`);
  }

  #connect(): void {
    const { host, port, transport, caFile } = this.#target;
    let socket: Socket;
    try {
      const ca = caFile === undefined ? {} : { ca: readFileSync(caFile) };
      const name = isIPv6(host) || /^[\d.]+$/.test(host) ? {} : { servername: host };
      socket = transport === 'tls' ? connectTls({ host, port, ...name, ...ca }) : connect({ host, port });
    } catch (error) {
      return this.#again((error as Error).message);
    }
    this.#socket = socket;
    let problem = 'it closed the connection';
    const deadline = setTimeout(() => socket.destroy(new Error('no answer in time')), CONNECT_MS);
    socket.on('error', (error) => (problem = error.message));
    socket.once(transport === 'tls' ? 'secureConnect' : 'connect', () => {
      clearTimeout(deadline);
      this.#isConnected = true;
      this.#retryMs = FIRST_RETRY_MS;
      if (this.#isDown) this.#log.write('info', 'syslog.up', { server: host });
      this.#isDown = false;
      this.#drain();
    });
    socket.on('drain', () => this.#drain());
    // Nobody has anything to say to us.
    socket.resume();
    socket.once('close', () => {
      clearTimeout(deadline);
      this.#isConnected = false;
      this.#again(problem);
    });
  }

  #drain(): void {
    while (this.#waiting.length > 0 && this.#socket && this.#socket.writableLength < MAX_UNSENT_BYTES)
      this.#write(this.#waiting.shift() as string);
  }

  #again(problem: string): void {
    if (this.#closing) return;
    this.#down(problem);
    this.#timer = setTimeout(() => this.#connect(), this.#retryMs).unref();
    this.#retryMs = Math.min(2 * this.#retryMs, MAX_RETRY_MS);
  }

  #down(error: string): void {
    if (!this.#isDown) this.#log.write('warn', 'syslog.down', { server: this.#target.host, error });
    this.#isDown = true;
  }
}
