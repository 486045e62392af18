/**
 * HTTP by a table of rows, each a method, a path with `:names` in it, and what answers. Bounded in number, size and time:
 * nobody who talks to it can hold up the keeper. Node's own server, since the keeper's process may not make code from
 * strings, which every router and validator that compiles does.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { canonical } from '../kit/address.ts';
import type { Log } from '../kit/log.ts';
import { Refusal } from './refusal.ts';

export type Asked = {
  readonly message: IncomingMessage;
  /** the address that asks */
  readonly from: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  /** what was sent as JSON; undefined when nothing was */
  readonly body: unknown;
};

export type Answer = {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON, unless it is a buffer; with a function the answer is the function's from here on */
  readonly body: Buffer | object | ((response: ServerResponse) => void);
};

export type Row = {
  readonly method: string;
  readonly path: string;
  /** what may be sent at most, where that is more than usual */
  readonly maxBodyBytes?: number;
  /** what is sent is the form of a page of ours, and no JSON */
  readonly isForm?: boolean;
  readonly answer: (asked: Asked) => Answer | Promise<Answer>;
};

export type HttpOptions<R extends Row> = {
  readonly host: string;
  readonly port: number;
  readonly rows: readonly R[];
  /** Before the body is read: throws a Refusal unless this row may be asked. */
  readonly admit: (row: R, message: IncomingMessage, from: string) => void;
  /** of every answer */
  readonly headers: Readonly<Record<string, string>>;
  /** web servers in front, which say whom they speak for */
  readonly isProxy: (address: string) => boolean;
  readonly log: Log;
};

const RETRY_MS = 5_000;
const MAX_CONNECTIONS = 200;
const MAX_BODY_BYTES = 64 * 1024;
/** What is read and dropped of a body that is too long, so that its sender hears why: closed unread, it hears a reset. */
const MAX_DROPPED_BYTES = 1024 * 1024;

export class Http<R extends Row> {
  readonly #options: HttpOptions<R>;
  readonly #server: Server;
  readonly #rows: readonly (readonly [row: R, pattern: RegExp])[];
  #timer: NodeJS.Timeout | undefined;

  /** Listens, and tries again every 5 s when it cannot. */
  constructor(options: HttpOptions<R>) {
    this.#options = options;
    this.#rows = options.rows.map((row) => [row, patternOf(row.path)] as const);
    this.#server = createServer(
      { requestTimeout: 10_000, headersTimeout: 5_000, keepAliveTimeout: 30_000, maxHeaderSize: 16_384 },
      (message, response) => void this.#respond(message, response),
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.maxRequestsPerSocket = 10_000;
    // A reader that does not take what it asked for.
    this.#server.setTimeout(60_000, (socket) => void socket.destroy());
    const { host, port, log } = options;
    this.#server.on('listening', () => log.write('info', 'panel.listening', { host, port }));
    this.#server.on('error', (error) => {
      log.write('error', 'panel.not-listening', { host, port, error: error.message });
      // One that could not be accepted, for want of a descriptor, say; and listening twice throws.
      if (this.#server.listening) return;
      this.#timer = setTimeout(() => this.#listen(), RETRY_MS);
    });
    this.#listen();
  }

  get port(): number | undefined {
    const address = this.#server.address();
    return address !== null && typeof address === 'object' ? address.port : undefined;
  }

  close(): Promise<void> {
    clearTimeout(this.#timer);
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #listen(): void {
    const { host, port } = this.#options;
    this.#server.listen({ host, port });
  }

  async #respond(message: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {});
    try {
      const { status = 200, headers = {}, body } = await this.#answer(message);
      const all = { 'cache-control': 'no-store', ...this.#options.headers, ...headers };
      if (typeof body === 'function') {
        response.writeHead(status, all);
        body(response);
        return;
      }
      const bytes = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
      const type = Buffer.isBuffer(body) ? {} : { 'content-type': 'application/json; charset=utf-8' };
      response.writeHead(status, { ...type, 'content-length': String(bytes.length), ...all }).end(bytes);
    } catch (error) {
      this.#refuse(response, error);
    }
  }

  async #answer(message: IncomingMessage): Promise<Answer> {
    const url = URL.parse(message.url ?? '', 'http://gateway');
    if (!url) throw new Refusal(400, 'this is no path');
    const from = this.#fromOf(message);
    let isOther = false;
    for (const [row, pattern] of this.#rows) {
      const match = pattern.exec(url.pathname);
      if (!match) continue;
      if (row.method !== message.method) {
        isOther = true;
        continue;
      }
      this.#options.admit(row, message, from);
      const body = row.method === 'GET' ? undefined : await bodyOf(message, row);
      const asked = { message, from, params: paramsOf(match), query: Object.fromEntries(url.searchParams), body };
      return row.answer(asked);
    }
    throw isOther
      ? new Refusal(405, `${message.method} is not for this path`)
      : new Refusal(404, 'there is nothing here');
  }

  #fromOf({ socket, headers }: IncomingMessage): string {
    const peer = socket.remoteAddress?.replace(/^::ffff:/, '') ?? '';
    if (!this.#options.isProxy(peer)) return peer;
    const forwarded = headers['x-forwarded-for'];
    const last = (Array.isArray(forwarded) ? forwarded.at(-1) : forwarded)?.split(',').at(-1)?.trim();
    return (last === undefined ? undefined : canonical(last)) ?? peer;
  }

  #refuse(response: ServerResponse, error: unknown): void {
    if (response.headersSent) return void response.destroy();
    const refusal = error instanceof Refusal ? error : undefined;
    // The keeper's own refusals are sentences for people; what they quote is for whoever asked.
    if (!refusal) this.#options.log.write('info', 'panel.refused', { error: (error as Error).name });
    const { status, field, retryAfterS } = refusal ?? { status: 409, field: undefined, retryAfterS: undefined };
    const bytes = Buffer.from(JSON.stringify({ error: (error as Error).message, field }));
    response
      .writeHead(status, {
        ...this.#options.headers,
        ...{ 'content-type': 'application/json; charset=utf-8', 'content-length': String(bytes.length) },
        'cache-control': 'no-store',
        // What was not read of the question is not taken for the next one.
        ...(status >= 400 && status !== 404 ? { connection: 'close' } : {}),
        ...(retryAfterS !== undefined && { 'retry-after': String(retryAfterS) }),
      })
      .end(bytes);
  }
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll('.', '\\.').replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`);
}

function paramsOf({ groups = {} }: RegExpExecArray): Readonly<Record<string, string>> {
  try {
    return Object.fromEntries(Object.entries(groups).map(([name, value]) => [name, decodeURIComponent(value)]));
  } catch {
    throw new Refusal(400, 'the path has a "%" that is followed by no octet');
  }
}

async function bodyOf(
  message: IncomingMessage,
  { maxBodyBytes: maxBytes = MAX_BODY_BYTES, isForm }: Row,
): Promise<unknown> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes <= maxBytes) chunks.push(chunk);
    else if (sizeBytes > maxBytes + MAX_DROPPED_BYTES) break;
  }
  if (sizeBytes > maxBytes) throw new Refusal(413, `more than ${maxBytes} octets`);
  if (sizeBytes === 0) return undefined;
  if (isForm) return Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
  // A form of another site's page cannot send this type without being asked for it first.
  if (!/^application\/json(?:;|$)/i.test(message.headers['content-type'] ?? ''))
    throw new Refusal(415, 'what is sent is application/json');
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    throw new Refusal(400, 'what is sent is no JSON');
  }
}
