/**
 * Seven unmodified senders, each behind the same three calls. Mail servers run as Debian ships them, with Debian's own
 * default configuration for a machine on the internet: they find the MX by DNS and call its port 25.
 *
 * What is set here is what a package's scripts would have made (users, owners, databases), the machine's name, and
 * what concerns the queue alone: a larger size limit, and one delivery at a time so that messages share a connection.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Namespace, PLACES } from '../../src/lab/network.ts';
import { cacheDir, chrootOf } from '../kit/debian.ts';
import { type Box, openBox } from './box.ts';
import { bytesOf, type Family, type Mail } from './mail.ts';
import type { Job } from './nodemailer.ts';

export type Sender = {
  readonly name: string;
  /** it hands the message over as it is; the others put header fields of their own on top */
  readonly verbatim: boolean;
  /** it has no way to send a second message in a connection */
  readonly oneMessageAConnection?: true;
  /** how many of a row of messages it sends before it keeps a connection open for the next */
  readonly aloneAtFirst?: number;
  /** Set it up in a namespace where the name server of dns.ts listens. */
  readonly open: (inside: Namespace) => Promise<Opened>;
};

export type Opened = {
  /** Send to the MX of this family, over one connection if it can. Rejects with its log unless all were delivered. */
  readonly send: (mails: readonly Mail[], family: Family) => Promise<void>;
  readonly close: () => Promise<void>;
};

const NAME = 'mail.customers.example';
const LOG_FILE = '/var/log/mail.log';
const SEND_TIMEOUT_MS = 60_000;
const OPTIONS = { deadlineMs: SEND_TIMEOUT_MS };

/** What is there on any machine, whoever set it up. */
const MACHINE: Readonly<Record<string, string>> = {
  '/etc/hosts': `127.0.0.1 localhost\n::1 localhost\n${PLACES.hosts[0].v4} ${NAME} mail\n${PLACES.hosts[0].v6} ${NAME} mail\n`,
  '/etc/hostname': `${NAME}\n`,
  '/etc/mailname': `${NAME}\n`,
  '/etc/resolv.conf': 'nameserver 127.0.0.1\n',
  '/etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\nservices: files\n',
  '/etc/aliases': 'postmaster: root\nmailer-daemon: root\n',
};

/** The accounts that the packages' scripts would have made. */
const ACCOUNTS = ['postfix', 'Debian-exim', 'opensmtpd', 'opensmtpq', 'smmta', 'smmsp'];
const GROUPS = [...ACCOUNTS, 'postdrop'];
const BASE = `
echo ${NAME} >/proc/sys/kernel/hostname
cp /usr/share/base-passwd/passwd.master /etc/passwd
cp /usr/share/base-passwd/group.master /etc/group
${ACCOUNTS.map((name, n) => `echo '${name}:x:${101 + n}:${101 + n}::/:/usr/sbin/nologin' >>/etc/passwd`).join('\n')}
${GROUPS.map((name, n) => `echo '${name}:x:${101 + n}:' >>/etc/group`).join('\n')}
mkdir -p /var/log /var/spool /var/mail /run/lock
[ -e /var/run ] || ln -s /run /var/run
`;

/** A system's base, and what every mail server's own scripts use. */
const TOOLS = ['base-files', 'base-passwd', 'netbase', 'dash', 'coreutils', 'sed', 'grep', 'findutils', 'util-linux'];

async function machine(inside: Namespace, name: string, packages: readonly string[], setUp: string): Promise<Box> {
  const box = await openBox(await chrootOf(name, packages), inside);
  try {
    await box.write(MACHINE);
    await box.run(['sh', '-ec', BASE + setUp]);
    return box;
  } catch (error) {
    await box.close();
    throw error;
  }
}

/** As all programs hand a mail over: the `sendmail` command, lines ending in LF. */
async function submit(box: Box, mail: Mail, command: readonly string[]): Promise<void> {
  const input = Buffer.from(bytesOf(mail).toString('latin1').replaceAll('\r\n', '\n'), 'latin1');
  await box.run([...command, '-i', '-f', mail.from || '<>', '--', ...mail.to], { ...OPTIONS, input });
}

/** Lines of a server that logs to its standard output, for waiting on. */
class Log {
  readonly #lines: string[] = [];
  #wake = (): void => {};
  #ended = false;

  constructor(child: ChildProcess) {
    const add = (line: string): void => {
      this.#lines.push(line);
      this.#wake();
    };
    for (const stream of [child.stdout, child.stderr]) if (stream) createInterface(stream).on('line', add);
    child.once('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  get size(): number {
    return this.#lines.length;
  }

  get text(): string {
    return this.#lines.slice(-60).join('\n');
  }

  /** The lines from this place on, once so many match; rejects with them at the deadline, or when the server ended. */
  async matching(what: RegExp, count: number, from: number): Promise<string[]> {
    const deadline = AbortSignal.timeout(SEND_TIMEOUT_MS);
    deadline.addEventListener('abort', () => this.#wake());
    for (;;) {
      const lines = this.#lines.slice(from);
      const found = lines.filter((line) => what.test(line));
      if (found.length >= count) return found;
      if (deadline.aborted || this.#ended)
        throw new Error(`${found.length} of ${count} deliveries were tried:\n${lines.slice(-60).join('\n')}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** One line for each recipient, as `tried` finds them; each must be `done`. */
async function untilDelivered(
  log: Log,
  from: number,
  mails: readonly Mail[],
  tried: RegExp,
  done: RegExp,
): Promise<void> {
  const recipients = mails.reduce((sum, mail) => sum + mail.to.length, 0);
  const lines = await log.matching(tried, recipients, from);
  const failed = lines.filter((line) => !done.test(line));
  if (failed.length > 0) throw new Error(`not delivered:\n${failed.slice(0, 20).join('\n')}`);
}

const postfix: Sender = {
  name: 'Postfix',
  verbatim: false,
  // Connections are cached once a delivery follows another within a second; the first one follows none.
  aloneAtFirst: 1,
  async open(inside) {
    const box = await machine(
      inside,
      'postfix',
      ['postfix', 'mawk', 'hostname', 'diffutils', ...TOOLS],
      `
      cp /usr/share/postfix/main.cf.debian /etc/postfix/main.cf
      cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
      cp /usr/share/postfix/dynamicmaps.cf /etc/postfix/dynamicmaps.cf
      chown postfix:postfix /var/lib/postfix
      chgrp postdrop /usr/sbin/postdrop /usr/sbin/postqueue
      chmod 2555 /usr/sbin/postdrop /usr/sbin/postqueue
      postconf -e myhostname=${NAME} mydestination=${NAME},localhost inet_interfaces=loopback-only \
        alias_maps= alias_database= message_size_limit=104857600 maillog_file=${LOG_FILE} \
        default_destination_concurrency_limit=1
      postconf -F '*/*/chroot=n'
      postfix check
      : >>${LOG_FILE}`,
    );
    const log = new Log(box.spawn(['tail', '-n', '+1', '-s', '0.05', '-f', LOG_FILE]));
    let started = false;
    return {
      async send(mails) {
        const from = log.size;
        // Several are queued before it runs: a connection is kept only while there is more for the same server.
        if (started && mails.length > 1) await box.run(['postfix', 'stop'], OPTIONS);
        else if (!started && mails.length === 1) await box.run(['postfix', 'start'], OPTIONS);
        for (const mail of mails) await submit(box, mail, ['sendmail']);
        if (mails.length > 1) await box.run(['postfix', 'start'], OPTIONS);
        started = true;
        await untilDelivered(log, from, mails, / status=/, / status=sent /);
      },
      close: box.close,
    };
  },
};

const exim: Sender = {
  name: 'Exim',
  verbatim: false,
  async open(inside) {
    const box = await machine(
      inside,
      'exim',
      ['exim4-daemon-light', ...TOOLS],
      `
      mkdir -p /var/lib/exim4 /var/log/exim4 /var/spool/exim4
      chown Debian-exim:adm /var/log/exim4
      chown Debian-exim:Debian-exim /var/spool/exim4
      chown root:Debian-exim /etc/exim4/passwd.client
      cat >/etc/exim4/update-exim4.conf.conf <<'END'
dc_eximconfig_configtype='internet'
dc_other_hostnames='${NAME}'
dc_local_interfaces='127.0.0.1 ; ::1'
END
      update-exim4.conf`,
    );
    return {
      async send(mails) {
        for (const mail of mails) await submit(box, mail, ['sendmail', '-odq']);
        // Two passes: the first finds out who goes where, so that the second can send all for a server in one go.
        await box.run(['exim4', '-qqff'], OPTIONS);
        const left = (await box.run(['exim4', '-bpc'])).stdout.trim();
        if (left !== '0')
          throw new Error(`Exim has not delivered:\n${(await box.run(['cat', '/var/log/exim4/mainlog'])).stdout}`);
      },
      close: box.close,
    };
  },
};

const openSmtpd: Sender = {
  name: 'OpenSMTPD',
  verbatim: false,
  async open(inside) {
    const box = await machine(
      inside,
      'opensmtpd',
      ['opensmtpd', ...TOOLS],
      `
      chgrp opensmtpq /usr/sbin/smtpctl
      chmod 2755 /usr/sbin/smtpctl
      # Its own resolver does not always find "localhost" in the hosts file, and then it does not start.
      sed -i 's/^listen on localhost/listen on 127.0.0.1/' /etc/smtpd.conf`,
    );
    const log = new Log(box.spawn(['smtpd', '-d']));
    try {
      await box.run(['sh', '-c', 'until timeout 5 smtpctl show status >/dev/null 2>&1; do sleep 0.05; done']);
    } catch (error) {
      await box.close();
      throw new Error(`OpenSMTPD does not start:\n${log.text}`, { cause: error });
    }
    return {
      async send(mails) {
        const from = log.size;
        await box.run(['smtpctl', 'pause', 'mta'], OPTIONS);
        for (const mail of mails) await submit(box, mail, ['sendmail']);
        await box.run(['smtpctl', 'resume', 'mta'], OPTIONS);
        await untilDelivered(log, from, mails, / mta delivery /, / result="Ok"/);
      },
      close: box.close,
    };
  },
};

const sendmail: Sender = {
  name: 'Sendmail',
  verbatim: false,
  async open(inside) {
    const box = await machine(
      inside,
      'sendmail',
      ['sendmail-bin', 'sendmail-cf', 'm4', ...TOOLS],
      `
      cd /etc/mail
      : >m4/dialup.m4; : >m4/provider.m4; : >access
      echo ${NAME} >local-host-names
      ln -s /etc/aliases aliases
      ln -s ../libexec/sendmail/sendmail /usr/sbin/sendmail
      m4 /usr/share/sendmail/cf/debian/sendmail.mc >sendmail.cf
      makemap hash access <access
      chown smmta:smmsp /var/spool/mqueue
      mkdir -p /run/sendmail/mta
      sendmail -Am -bi`,
    );
    return {
      async send(mails) {
        for (const mail of mails) await submit(box, mail, ['sendmail', '-Am', '-odq']);
        const ran = await box.run(['sendmail', '-Am', '-v', '-qf'], OPTIONS);
        const left = (await box.run(['ls', '/var/spool/mqueue'])).stdout.trim();
        if (left !== '') throw new Error(`Sendmail has not delivered:\n${ran.stdout.slice(-4000)}`);
      },
      close: box.close,
    };
  },
};

/** The clients get the server by its address, as a script with a fixed server does. */
function serverOf(family: Family): string {
  return family === 4 ? PLACES.direct.v4 : PLACES.direct.v6;
}

async function put(box: Box, messages: readonly Buffer[]): Promise<string[]> {
  const paths = messages.map((_, n) => `/tmp/mail-${n}`);
  await box.write(Object.fromEntries(messages.map((message, n) => [paths[n] as string, message])));
  return paths;
}

const clients = ['swaks', 'python3', 'libio-socket-inet6-perl', ...TOOLS];

const swaks: Sender = {
  name: 'swaks',
  verbatim: true,
  oneMessageAConnection: true,
  async open(inside) {
    const box = await machine(inside, 'clients', clients, '');
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

const smtplib: Sender = {
  name: "Python's smtplib",
  verbatim: true,
  async open(inside) {
    const box = await machine(inside, 'clients', clients, '');
    return {
      async send(mails, family) {
        const input = jobOf(mails, await put(box, mails.map(bytesOf)), family);
        await box.run(['python3', '-c', SMTPLIB], { ...OPTIONS, input });
      },
      close: box.close,
    };
  },
};

const nodemailer: Sender = {
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

export const senders: readonly Sender[] = [swaks, smtplib, nodemailer, postfix, exim, openSmtpd, sendmail];
