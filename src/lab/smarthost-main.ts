/**
 * The lab's smarthost: takes every message, to whomever but one, and reports it.
 *
 *     node src/lab/smarthost-main.ts --listen 203.0.113.87:587 --listen [2001:db8:2::87]:587 \
 *          --key FILE --cert FILE --gateway gw1.example.net
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { SMTPServer, type SMTPServerDataStream, type SMTPServerSession } from 'smtp-server';
import { endpoint, ready, report } from './report.ts';
import { type Arrived, UNKNOWN } from './smarthost.ts';

const { values } = parseArgs({
  options: {
    listen: { type: 'string', multiple: true, default: [] },
    key: { type: 'string', default: '' },
    cert: { type: 'string', default: '' },
    gateway: { type: 'string', default: '' },
  },
});

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Where the first header field ends: at the first line that does not begin with white space. */
function endOfFirstField(message: Buffer): number {
  let at = message.indexOf('\r\n');
  while (at >= 0 && (message[at + 2] === 0x20 || message[at + 2] === 0x09)) at = message.indexOf('\r\n', at + 2);
  return at < 0 ? message.length : at + 2;
}

function describe(message: Buffer, session: SMTPServerSession): Arrived {
  const split = message.indexOf('\r\n\r\n');
  const header = message.subarray(0, split < 0 ? message.length : split + 2);
  const body = message.subarray(split < 0 ? message.length : split + 4);
  const first = header.subarray(0, endOfFirstField(header));
  const top = first
    .toString('latin1')
    .replace(/\r\n(?=[ \t])/g, '')
    .trim();
  const isOurs = /^Received:/i.test(top) && top.split(/\s+/).join(' ').includes(` by ${values.gateway} `);
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}:[ \\t]*([^\\r]*)`, 'im').exec(header.toString('latin1'))?.[1];
  return {
    from: session.envelope.mailFrom ? session.envelope.mailFrom.address : '',
    to: session.envelope.rcptTo.map((recipient) => recipient.address),
    sizeBytes: message.length,
    subject: field('Subject'),
    messageId: field('Message-ID'),
    bodySha256: sha256(body),
    sentSha256: sha256(isOurs ? message.subarray(first.length) : message),
    top,
    receivedByUs: isOurs,
    tls: session.secure,
    remote: session.remoteAddress,
    local: session.localAddress,
  };
}

/** One recipient that does not exist, so that the smarthost's own refusal can be seen to come through. */
function onRcptTo(
  address: { address: string },
  _session: SMTPServerSession,
  done: (error?: Error | null) => void,
): void {
  const isUnknown = address.address.startsWith(`${UNKNOWN}@`);
  done(isUnknown ? Object.assign(new Error('No such user here'), { responseCode: 550 }) : null);
}

function onData(
  stream: SMTPServerDataStream,
  session: SMTPServerSession,
  done: (error?: Error | null, text?: string) => void,
): void {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.once('error', done);
  stream.once('end', () => {
    // Reported before it is answered: what a client was told is here is in the report.
    report(describe(Buffer.concat(chunks), session));
    done(null, 'Recorded by the lab');
  });
}

await Promise.all(
  values.listen.map(
    (text) =>
      new Promise<void>((resolve, reject) => {
        const { host, port } = endpoint(text);
        const server = new SMTPServer({
          name: 'smarthost.example.net',
          key: readFileSync(values.key),
          cert: readFileSync(values.cert),
          disabledCommands: ['AUTH'],
          disableReverseLookup: true,
          hideENHANCEDSTATUSCODES: false,
          hideDSN: false,
          size: 64 * 1024 ** 2,
          onRcptTo,
          onData,
        });
        // A client that resets its connection is none of ours; a listener that fails is.
        server.on('error', (error: NodeJS.ErrnoException) => {
          if (error.syscall === 'listen') reject(error);
        });
        server.listen(port, host, resolve);
      }),
  ),
);
ready();
