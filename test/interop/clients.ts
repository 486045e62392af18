/** Senders that speak SMTP at once, without a queue. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PLACES } from '../../src/lab/network.ts';
import { cacheDir } from '../kit/debian.ts';
import type { Box } from './box.ts';
import { machine, OPTIONS } from './machine.ts';
import { bytesOf, type Family, type Mail } from './mail.ts';
import type { Job } from './nodemailer.ts';
import type { Sender } from './sender.ts';

/** The clients get the server by its address, as a script with a fixed server does. */
function serverOf(family: Family): string {
  return family === 4 ? PLACES.direct.v4 : PLACES.direct.v6;
}

async function put(box: Box, messages: readonly Buffer[]): Promise<string[]> {
  const paths = messages.map((_, n) => `/tmp/mail-${n}`);
  await box.write(Object.fromEntries(messages.map((message, n) => [paths[n] as string, message])));
  return paths;
}

export const swaks: Sender = {
  name: 'swaks',
  verbatim: true,
  oneMessageAConnection: true,
  async open(inside) {
    const box = await machine(inside, 'clients', '');
    return {
      async send(mails, family) {
        // It writes the last line's end itself.
        const paths = await put(
          box,
          mails.map((mail) => bytesOf(mail).subarray(0, -2)),
        );
        for (const [n, mail] of mails.entries())
          await box.run(
            [
              'swaks',
              ...['--server', serverOf(family), family === 4 ? '-4' : '-6', '--silent', '2'],
              ...['--from', mail.from || '<>', '--to', mail.to.join(','), '--data', `@${paths[n]}`],
            ],
            OPTIONS,
          );
      },
      close: box.close,
    };
  },
};

const SMTPLIB = `
import smtplib, json, sys
job = json.load(sys.stdin)
with smtplib.SMTP(job["host"], 25, timeout=60) as server:
    for mail in job["mails"]:
        body = open(mail["path"], "rb").read()
        options = ["BODY=8BITMIME"] if any(byte > 127 for byte in body[:10000]) else []
        refused = server.sendmail(mail["from"], mail["to"], body, mail_options=options)
        if refused:
            sys.exit(str(refused))
`;

function jobOf(mails: readonly Mail[], paths: readonly string[], family: Family): string {
  const job: Job = {
    host: serverOf(family),
    mails: mails.map((mail, n) => ({ from: mail.from, to: mail.to, path: paths[n] ?? '' })),
  };
  return JSON.stringify(job);
}

export const smtplib: Sender = {
  name: "Python's smtplib",
  verbatim: true,
  async open(inside) {
    const box = await machine(inside, 'clients', '');
    return {
      async send(mails, family) {
        const input = jobOf(mails, await put(box, mails.map(bytesOf)), family);
        await box.run(['python3', '-c', SMTPLIB], { ...OPTIONS, input });
      },
      close: box.close,
    };
  },
};

export const nodemailer: Sender = {
  name: 'nodemailer',
  verbatim: true,
  async open(inside) {
    await mkdir(cacheDir, { recursive: true });
    const directory = await mkdtemp(join(cacheDir, 'nodemailer-'));
    return {
      async send(mails, family) {
        const paths = mails.map((_, n) => join(directory, `mail-${n}`));
        for (const [n, mail] of mails.entries()) await writeFile(paths[n] as string, bytesOf(mail));
        const script = join(import.meta.dirname, 'nodemailer.ts');
        const ran = await inside.run(process.execPath, [script], { ...OPTIONS, input: jobOf(mails, paths, family) });
        if (ran.code !== 0) throw new Error(`nodemailer has not delivered:\n${ran.stderr}`);
      },
      close: () => rm(directory, { recursive: true, force: true }),
    };
  },
};
