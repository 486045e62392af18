/**
 * A plain client, as an application that sends mail through a library: one message from standard input, one JSON line out.
 *
 *     node src/lab/plain-client-main.ts < { "server", "port", "source", "helo", "from", "to", "raw", "is8bit" }
 */
import { text } from 'node:stream/consumers';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import type { PlainMail, Saw } from './send.ts';

const mail = JSON.parse(await text(process.stdin)) as PlainMail;

const connection = new SMTPConnection({
  host: mail.server,
  port: mail.port,
  localAddress: mail.source,
  name: mail.helo,
  ignoreTLS: true,
  connectionTimeout: 10_000,
  greetingTimeout: 10_000,
  socketTimeout: 15_000,
});

function end(saw: Saw): void {
  process.stdout.write(`${JSON.stringify(saw)}\n`, () => process.exit(0));
}

connection.once('error', (error: Error & { code?: string; response?: string }) => {
  end({ reply: error.response ?? '', failure: error.response ? undefined : error.message });
});
connection.connect(() => {
  const envelope = { from: mail.from, to: [...mail.to], use8BitMime: mail.is8bit };
  connection.send(envelope, Buffer.from(mail.raw, 'base64'), (error, info) => {
    const reply = error ? (error as Error & { response?: string }).response : info.response;
    end({ reply: reply ?? '', failure: reply === undefined ? error?.message : undefined });
  });
});
