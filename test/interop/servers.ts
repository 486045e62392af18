/**
 * Mail servers as Debian ships them, with Debian's own default configuration for a machine on the internet: they find
 * the MX by DNS and call its port 25.
 *
 * What is set here is what a package's scripts would have made (owners, databases), the machine's name, and what
 * concerns the queue alone: a larger size limit, and one delivery at a time so that messages share a connection.
 */
import type { Box } from './box.ts';
import { Log, untilDelivered } from './log.ts';
import { EXIM_SET_UP, machine, NAME, OPTIONS } from './machine.ts';
import { bytesOf, type Mail } from './mail.ts';
import type { Sender } from './sender.ts';

const LOG_FILE = '/var/log/mail.log';

/** As all programs hand a mail over: the `sendmail` command, lines ending in LF. */
async function submit(box: Box, mail: Mail, command: readonly string[]): Promise<void> {
  const input = Buffer.from(bytesOf(mail).toString('latin1').replaceAll('\r\n', '\n'), 'latin1');
  await box.run([...command, '-i', '-f', mail.from || '<>', '--', ...mail.to], { ...OPTIONS, input });
}

export const postfix: Sender = {
  name: 'Postfix',
  verbatim: false,
  // Connections are cached once a delivery follows another within a second; the first one follows none.
  aloneAtFirst: 1,
  async open(inside) {
    const box = await machine(
      inside,
      'postfix',
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

export const exim: Sender = {
  name: 'Exim',
  verbatim: false,
  async open(inside) {
    const box = await machine(inside, 'exim', EXIM_SET_UP);
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

export const openSmtpd: Sender = {
  name: 'OpenSMTPD',
  verbatim: false,
  async open(inside) {
    const box = await machine(
      inside,
      'opensmtpd',
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

export const sendmail: Sender = {
  name: 'Sendmail',
  verbatim: false,
  async open(inside) {
    const box = await machine(
      inside,
      'sendmail',
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
        // Whatever else the machine is doing: at a load of 8 for each processor it would leave the queue alone.
        const ran = await box.run(['sendmail', '-Am', '-v', '-qf', '-O', 'QueueLA=1000'], OPTIONS);
        const left = (await box.run(['ls', '/var/spool/mqueue'])).stdout.trim();
        if (left !== '') throw new Error(`Sendmail has not delivered:\n${ran.stdout.slice(-4000)}`);
      },
      close: box.close,
    };
  },
};
