/**
 * Serves /metrics and /healthz, and nothing else, to whoever can reach metrics.listen. Few, short and slow-proof:
 * nobody who talks to it can hold up the keeper.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Log } from '../kit/log.ts';

export type ExporterOptions = {
  readonly host: string;
  readonly port: number;
  readonly contentType: string;
  readonly render: () => Promise<string>;
  /** undefined when all is well, otherwise what is not */
  readonly problem: () => string | undefined;
  readonly log: Log;
};

const RETRY_MS = 5_000;

export type Exporter = {
  /** The port that is listened on, while it is: for tests that ask for port 0. */
  readonly port: () => number | undefined;
  readonly close: () => Promise<void>;
};

/** Listens, and tries again every 5 s when it cannot: mail does not depend on being measured. */
export function startExporter(options: ExporterOptions): Exporter {
  const { host, port, log } = options;
  let timer: NodeJS.Timeout | undefined;
  const server: Server = createServer(
    { requestTimeout: 5_000, headersTimeout: 5_000, keepAliveTimeout: 30_000, maxHeaderSize: 8_192 },
    (request, response) => {
      answer(options, request, response).catch((error: unknown) => {
        log.write('error', 'metrics.failed', { error: String(error) });
        if (response.headersSent) response.destroy();
        else send(request, response, 500, 'metrics could not be made; the log says why\n');
      });
    },
  );
  server.maxConnections = 32;
  server.maxRequestsPerSocket = 1_000;
  // A reader that does not take what it asked for.
  server.setTimeout(60_000);
  server.on('error', (error: NodeJS.ErrnoException) => {
    log.write('error', 'metrics.not-listening', { listen: `${host}:${port}`, error: error.code, retryMs: RETRY_MS });
    // One that could not be accepted, for want of a descriptor, say; and listening twice throws.
    if (server.listening) return;
    timer = setTimeout(() => server.listen(port, host), RETRY_MS);
  });
  server.listen(port, host);

  return {
    port: () => {
      const address = server.address();
      return typeof address === 'object' && address !== null ? address.port : undefined;
    },
    close: async () => {
      clearTimeout(timer);
      server.closeAllConnections();
      if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function answer(options: ExporterOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url?.split('?', 1)[0];
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    // Whatever body comes with it is not waited for.
    response.setHeader('Connection', 'close');
    return send(request, response, 405, 'only GET\n');
  }
  if (path === '/metrics') return send(request, response, 200, await options.render(), options.contentType);
  if (path === '/healthz') {
    const problem = options.problem();
    return send(request, response, problem === undefined ? 200 : 503, `${problem ?? 'ok'}\n`);
  }
  send(request, response, 404, 'here are /metrics and /healthz\n');
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  text: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  });
  response.end(request.method === 'HEAD' ? undefined : text);
}
