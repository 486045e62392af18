/** Complaints by SMTP or LMTP, from those who may: each is heard whole, and answered when it has been noted. */
import { SMTPServer } from 'smtp-server';
import type { Log } from '../kit/log.ts';

export type IntakeOptions = {
  readonly host: string;
  readonly port: number;
  readonly isLmtp: boolean;
  readonly gateway: string;
  readonly mayConnect: (address: string) => boolean;
  /** Notes it; what it rejects with is a reason to try again. `mail` is latin1. */
  readonly onMail: (mail: string) => Promise<void>;
  readonly log: Log;
};

export const MAX_COMPLAINT_BYTES = 2 * 1024 * 1024;
const MAX_CLIENTS = 20;
const IDLE_MS = 60_000;
const RETRY_MS = 5_000;

export type Intake = { readonly port: () => number | undefined; readonly close: () => Promise<void> };

/** Listens, and tries again every 5 s when it cannot: mail does not depend on it. */
export function startIntake({ host, port, isLmtp, gateway, mayConnect, onMail, log }: IntakeOptions): Intake {
  let timer: NodeJS.Timeout | undefined;
  const refusal = (responseCode: number, text: string): Error => Object.assign(new Error(text), { responseCode });
  const server = new SMTPServer({
    name: gateway,
    banner: 'complaints',
    lmtp: isLmtp,
    size: MAX_COMPLAINT_BYTES,
    maxClients: MAX_CLIENTS,
    socketTimeout: IDLE_MS,
    closeTimeout: 1_000,
    authOptional: true,
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    onConnect: ({ remoteAddress }, answer) =>
      answer(mayConnect(remoteAddress) ? undefined : refusal(554, 'complaints are not taken from here')),
    onData(stream, _session, answer) {
      const chunks: Buffer[] = [];
      let bytes = 0;
      stream.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= MAX_COMPLAINT_BYTES) chunks.push(chunk);
      });
      stream.once('error', answer);
      stream.once('end', () => {
        if (bytes > MAX_COMPLAINT_BYTES) return answer(refusal(552, 'the mail is too large for a complaint'));
        onMail(Buffer.concat(chunks).toString('latin1')).then(
          () => answer(null, 'noted'),
          () => answer(refusal(451, 'it cannot be noted just now')),
        );
      });
    },
  });
  server.on('error', (error: NodeJS.ErrnoException) => {
    if (error.syscall !== 'listen') return;
    log.write('error', 'complaints.not-listening', { listen: `${host}:${port}`, error: error.code, retryMs: RETRY_MS });
    timer = setTimeout(() => server.listen(port, host), RETRY_MS);
  });
  server.listen(port, host);
  return {
    port() {
      const address = server.server.address();
      return typeof address === 'object' && address !== null ? address.port : undefined;
    },
    close() {
      clearTimeout(timer);
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
