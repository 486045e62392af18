/**
 * Mail servers that ask for TLS in all the ways they have, each way for a domain of its own: `encrypt.v4.example.org`.
 *
 * They are otherwise as in servers.ts. What has not been delivered is thrown away before the next round.
 */
import { once } from 'node:events';
import type { Namespace } from '../../src/lab/network.ts';
import type { Box } from './box.ts';
import { Log } from './log.ts';
import { EXIM_SET_UP, machine, NAME, OPTIONS, TOOLS } from './machine.ts';

export type Tried = { readonly domain: string; readonly isSent: boolean; readonly line: string };

export type Mta = {
  /** One mail to each domain, to a local part that names the server; resolves when each has been tried once. */
  readonly round: (domains: readonly string[], body: (domain: string) => string) => Promise<readonly Tried[]>;
  readonly run: Box['run'];
  readonly close: () => Promise<void>;
};

const DOMAINS = ['v4.example.org', 'v6.example.org'];
const LOG_FILE = '/var/log/mail.log';
/** Where the authority's certificate stands, and one that signs for nobody here. */
const OURS = '/etc/postern-ca.pem';
const OTHER = '/etc/other-ca.pem';

async function submit(
  box: Box,
  who: string,
  domains: readonly string[],
  body: (domain: string) => string,
  ...how: string[]
) {
  for (const domain of domains) {
    const input = `From: sender@${NAME}\nTo: ${who}@${domain}\nSubject: tls\n\n${body(domain)}\n`;
    await box.run(['sendmail', ...how, '-i', '-f', `sender@${NAME}`, '--', `${who}@${domain}`], { ...OPTIONS, input });
  }
}

/** The last line about each domain. */
function tried(domains: readonly string[], lines: readonly string[], isSent: RegExp): Tried[] {
  return domains.map((domain) => {
    const line = lines.findLast((one) => one.includes(`@${domain}>`) || one.includes(`@${domain} `)) ?? '';
    return { domain, isSent: isSent.test(line), line };
  });
}

const POLICIES: Readonly<Record<string, string>> = {
  may: 'may',
  encrypt: 'encrypt',
  dane: 'dane',
  verify: `verify match=hostname tafile=${OTHER}`,
  'verify-ours': `verify match=hostname servername=hostname tafile=${OURS}`,
  fingerprint: 'fingerprint match=00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33',
};

export async function openPostfix(inside: Namespace, files: Readonly<Record<string, string>>): Promise<Mta> {
  const policy = DOMAINS.flatMap((domain) => Object.entries(POLICIES).map(([name, how]) => `${name}.${domain} ${how}`));
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
    printf '%s\\n' ${policy.map((line) => `'${line}'`).join(' ')} >/etc/postfix/tls
    postconf -e myhostname=${NAME} mydestination=${NAME},localhost inet_interfaces=loopback-only alias_maps= \
      alias_database= maillog_file=${LOG_FILE} smtp_dns_support_level=dnssec smtp_tls_policy_maps=texthash:/etc/postfix/tls \
      smtp_tls_session_cache_database= smtp_tls_loglevel=1
    postconf -F '*/*/chroot=n'
    # The address is OpenSMTPD's, in the same network namespace.
    postconf -MX smtp/inet
    postfix check
    # postsuper writes it as another user.
    : >>${LOG_FILE}
    chmod 666 ${LOG_FILE}`,
  );
  await box.write(files);
  const log = new Log(box.spawn(['tail', '-n', '+1', '-s', '0.05', '-f', LOG_FILE]));
  return {
    async round(domains, body) {
      const from = log.size;
      await submit(box, 'postfix', domains, body);
      await box.run(['postfix', 'start'], OPTIONS);
      const lines = await log.matching(/ to=<postfix@.* status=/, domains.length, from);
      await box.run(['postfix', 'stop'], OPTIONS);
      await box.run(['postsuper', '-d', 'ALL'], OPTIONS);
      return tried(domains, lines, / status=sent /);
    },
    run: box.run,
    close: box.close,
  };
}

/** A route of its own for each way to ask; `plain` goes Debian's. */
const EXIM: Readonly<Record<string, string>> = {
  require: 'hosts_require_tls = *',
  verify: `hosts_require_tls = *\n  tls_verify_hosts = *\n  tls_verify_certificates = ${OTHER}`,
  'verify-ours': `hosts_require_tls = *\n  tls_verify_hosts = *\n  tls_verify_certificates = ${OURS}\n  tls_sni = $host`,
};
const EXIM_ROUTERS = Object.keys(EXIM)
  .map((name) => {
    const domains = DOMAINS.map((domain) => `${name}.${domain}`).join(' : ');
    return `r_${name.replace('-', '_')}:\n  driver = dnslookup\n  domains = ${domains}\n  transport = t_${name.replace('-', '_')}\n  no_more\n`;
  })
  .join('');
const EXIM_TRANSPORTS = Object.entries(EXIM)
  .map(([name, options]) => `t_${name.replace('-', '_')}:\n  driver = smtp\n  ${options}\n`)
  .join('');

export async function openExim(inside: Namespace, files: Readonly<Record<string, string>>): Promise<Mta> {
  const box = await machine(
    inside,
    'exim',
    ['exim4-daemon-light', ...TOOLS],
    `${EXIM_SET_UP}
    cat >/tmp/routers <<'END'
${EXIM_ROUTERS}END
    cat >/tmp/transports <<'END'
${EXIM_TRANSPORTS}END
    sed -i -e '/^begin routers/r /tmp/routers' -e '/^begin transports/r /tmp/transports' /var/lib/exim4/config.autogenerated`,
  );
  await box.write(files);
  return {
    async round(domains, body) {
      await box.run(['sh', '-c', 'rm -f /var/log/exim4/mainlog /var/spool/exim4/db/*']);
      await submit(box, 'exim', domains, body, '-odq');
      await box.run(['exim4', '-qff'], OPTIONS);
      const { stdout } = await box.run(['cat', '/var/log/exim4/mainlog']);
      await box.run(['sh', '-c', 'rm -rf /var/spool/exim4/input/* /var/spool/exim4/msglog/*']);
      const lines = stdout.split('\n').filter((line) => / (?:=>|->|==|\*\*) /.test(line));
      return tried(domains, lines, / (?:=>|->) /);
    },
    run: box.run,
    close: box.close,
  };
}

/** There is no pkill in the box. */
const END_SMTPD = `for one in /proc/[0-9]*; do
  if [ "$(cat "$one/comm" 2>/dev/null)" = smtpd ]; then kill "\${one#/proc/}" 2>/dev/null || true; fi
done`;

export async function openOpenSmtpd(inside: Namespace, files: Readonly<Record<string, string>>): Promise<Mta> {
  const list = (name: string): string => DOMAINS.map((domain) => `"${name}.${domain}"`).join(', ');
  const box = await machine(
    inside,
    'opensmtpd',
    ['opensmtpd', ...TOOLS],
    `
    chgrp opensmtpq /usr/sbin/smtpctl
    chmod 2755 /usr/sbin/smtpctl
    cat >/etc/smtpd.conf <<'END'
listen on 127.0.0.1
action "plain" relay
action "tls" relay tls
action "no-verify" relay tls no-verify
match from local for domain { ${list('plain')} } action "plain"
match from local for domain { ${list('tls')} } action "tls"
match from local for domain { ${list('no-verify')} } action "no-verify"
END`,
  );
  await box.write(files);
  return {
    async round(domains, body) {
      const child = box.spawn(['smtpd', '-d']);
      const closed = once(child, 'close');
      const log = new Log(child);
      await box.run(['sh', '-c', 'until timeout 5 smtpctl show status >/dev/null 2>&1; do sleep 0.05; done']);
      try {
        await submit(box, 'opensmtpd', domains, body);
        const lines = await log.until((all) => {
          const undone = domains.filter(
            (domain) => !all.some((line) => line.includes(`mta delivery`) && line.includes(`@${domain}>`)),
          );
          // A relay whose TLS it does not accept is tried again and again, and no mail is named.
          return all.filter((line) => line.includes(' mta error ')).length >= undone.length;
        }, 0);
        return tried(domains, lines, / result="Ok"/);
      } finally {
        await box.run(['sh', '-c', END_SMTPD], OPTIONS);
        await closed;
        await box.run(['sh', '-c', 'rm -rf /var/spool/smtpd/queue/*'], OPTIONS);
      }
    },
    run: box.run,
    close: box.close,
  };
}
