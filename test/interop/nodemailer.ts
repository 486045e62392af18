/** nodemailer as a process of its own, so that it runs inside: reads a job (JSON) from standard input and sends it. */
import { readFileSync } from 'node:fs';
import { createTransport } from 'nodemailer';

export type Job = {
  readonly host: string;
  readonly mails: readonly { readonly from: string; readonly to: readonly string[]; readonly path: string }[];
};

const job = JSON.parse(readFileSync(0, 'utf8')) as Job;
const transport = createTransport({
  ...{ host: job.host, port: 25, pool: true, maxConnections: 1, name: 'host.example' },
  // Whoever calls servers by their addresses has to: no certificate of a mail server names one.
  tls: { rejectUnauthorized: false },
});
for (const mail of job.mails) {
  const envelope = { from: mail.from, to: [...mail.to] };
  const sent = await transport.sendMail({ envelope, raw: readFileSync(mail.path) });
  process.stdout.write(`${sent.response}\n`);
}
transport.close();
