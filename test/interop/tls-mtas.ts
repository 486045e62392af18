/**
 * Mail servers that ask for TLS in all the ways they have, each way for a domain of its own: `encrypt.v4.example.org`.
 *
 * They are otherwise as in servers.ts. What has not been delivered is thrown away before the next round.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Namespace } from '../../src/lab/network.ts';
import type { Box } from './box.ts';
import { Log } from './log.ts';
import { EXIM_SET_UP, machine, NAME, OPTIONS } from './machine.ts';

export type Tried = { readonly domain: string; readonly isSent: boolean; readonly line: string };

/** One mail to several domains. */
export type Batch = { readonly domains: readonly string[]; readonly body: string };

export type Mta = {
  /** Resolves when each domain has been tried once; the server goes on running, and keeps what was deferred. */
  readonly tryAll: (batches: readonly Batch[]) => Promise<readonly Tried[]>;
  /** The server's own flush; resolves when each of these has been tried once more. */
  readonly tryAgain: (domains: readonly string[]) => Promise<readonly Tried[]>;
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

async function submit(box: Box, who: string, batches: readonly Batch[], ...how: string[]): Promise<void> {
  for (const { domains, body } of batches) {
    const to = domains.map((domain) => `${who}@${domain}`);
    const input = `From: sender@${NAME}\nTo: ${who}@example.org\nSubject: tls\n\n${body}\n`;
    await box.run(['sendmail', ...how, '-i', '-f', `sender@${NAME}`, '--', ...to], { ...OPTIONS, input });
  }
}

const oneEach = (domains: readonly string[], body: (domain: string) => string): Batch[] =>
  domains.map((domain) => ({ domains: [domain], body: body(domain) }));
const isAbout = (line: string, domain: string): boolean => line.includes(`@${domain}>`) || line.includes(`@${domain} `);
/** Each domain has a line that fits. */
const haveAll =
  (domains: readonly string[], fits: RegExp) =>
  (lines: readonly string[]): boolean => {
    const fitting = lines.filter((line) => fits.test(line));
    return domains.every((domain) => fitting.some((line) => isAbout(line, domain)));
  };

/** The last line about each domain. */
function tried(domains: readonly string[], lines: readonly string[], isSent: RegExp): Tried[] {
  return domains.map((domain) => {
    const line = lines.findLast((one) => isAbout(one, domain)) ?? '';
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

/** What each domain is asked for. */
export type Asked = Readonly<Record<string, string>>;

const POSTFIX: Asked = Object.fromEntries(
  DOMAINS.flatMap((domain) => Object.entries(POLICIES).map(([name, how]) => [`${name}.${domain}`, how])),
);

/** `asked`: a line of smtp_tls_policy_maps for each domain. */
export async function openPostfix(
  inside: Namespace,
  files: Readonly<Record<string, string>>,
  asked: Asked = POSTFIX,
): Promise<Mta> {
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
    postconf -e myhostname=${NAME} mydestination=${NAME},localhost inet_interfaces=loopback-only alias_maps= \
      alias_database= maillog_file=${LOG_FILE} smtp_dns_support_level=dnssec smtp_tls_policy_maps=texthash:/etc/postfix/tls \
      smtp_tls_session_cache_database= smtp_tls_loglevel=1 smtp_tls_fingerprint_digest=sha256
    postconf -F '*/*/chroot=n'
    # The address is OpenSMTPD's, in the same network namespace.
    postconf -MX smtp/inet
    postfix check
    # postsuper writes it as another user.
    : >>${LOG_FILE}
    chmod 666 ${LOG_FILE}`,
  );
  const policy = Object.entries(asked).map(([domain, how]) => `${domain} ${how}\n`);
  await box.write({ ...files, '/etc/postfix/tls': policy.join('') });
  const log = new Log(box.spawn(['tail', '-n', '+1', '-s', '0.05', '-f', LOG_FILE]));
  const STATUS = / to=<postfix@.* status=/;
  return {
    async tryAll(batches) {
      const from = log.size;
      const domains = batches.flatMap((batch) => batch.domains);
      await submit(box, 'postfix', batches);
      await box.run(['sh', '-c', 'postfix status 2>/dev/null || postfix start'], OPTIONS);
      return tried(domains, await log.until(haveAll(domains, STATUS), from), / status=sent /);
    },
    async tryAgain(domains) {
      const from = log.size;
      await box.run(['postqueue', '-f'], OPTIONS);
      return tried(domains, await log.until(haveAll(domains, STATUS), from), / status=sent /);
    },
    async round(domains, body) {
      const from = log.size;
      await submit(box, 'postfix', oneEach(domains, body));
      await box.run(['postfix', 'start'], OPTIONS);
      const lines = await log.matching(STATUS, domains.length, from);
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
  'require-dane': 'hosts_require_dane = *',
};

const PLAIN: Asked = Object.fromEntries(
  DOMAINS.flatMap((domain) => ['require', 'verify', 'verify-ours'].map((name) => [`${name}.${domain}`, name])),
);

function eximRoutes(asked: Asked): { readonly routers: string; readonly transports: string } {
  const names = Object.keys(EXIM).filter((name) => Object.values(asked).includes(name));
  const nameOf = (name: string): string => name.replace('-', '_');
  return {
    routers: names
      .map((name) => {
        const domains = Object.keys(asked).filter((domain) => asked[domain] === name);
        const how = 'driver = dnslookup\n  dnssec_request_domains = *\n  no_more';
        return `r_${nameOf(name)}:\n  ${how}\n  transport = t_${nameOf(name)}\n  domains = ${domains.join(' : ')}\n`;
      })
      .join(''),
    transports: names.map((name) => `t_${nameOf(name)}:\n  driver = smtp\n  ${EXIM[name]}\n`).join(''),
  };
}

/** `asked`: which of EXIM each domain has; Debian's own route where it has none. */
export async function openExim(
  inside: Namespace,
  files: Readonly<Record<string, string>>,
  asked: Asked = PLAIN,
): Promise<Mta> {
  const { routers, transports } = eximRoutes(asked);
  const box = await machine(
    inside,
    'exim',
    `${EXIM_SET_UP}
    echo 'options trust-ad' >>/etc/resolv.conf
    cat >/tmp/routers <<'END'
${routers}END
    cat >/tmp/transports <<'END'
${transports}END
    sed -i -e '/^begin routers/r /tmp/routers' -e '/^begin transports/r /tmp/transports' /var/lib/exim4/config.autogenerated`,
  );
  await box.write(files);
  const MAINLOG = '/var/log/exim4/mainlog';
  const runQueue = async (domains: readonly string[]): Promise<readonly Tried[]> => {
    await box.run(['sh', '-c', `rm -f ${MAINLOG} /var/spool/exim4/db/*`]);
    await box.run(['exim4', '-qff'], OPTIONS);
    const { stdout } = await box.run(['cat', MAINLOG]);
    const lines = stdout.split('\n').filter((line) => / (?:=>|->|==|\*\*) /.test(line));
    return tried(domains, lines, / (?:=>|->) /);
  };
  const tryAll = async (batches: readonly Batch[]): Promise<readonly Tried[]> => {
    await submit(box, 'exim', batches, '-odq');
    return runQueue(batches.flatMap(({ domains }) => domains));
  };
  return {
    tryAll,
    tryAgain: runQueue,
    async round(domains, body) {
      const found = await tryAll(oneEach(domains, body));
      await box.run(['sh', '-c', 'rm -rf /var/spool/exim4/input/* /var/spool/exim4/msglog/*']);
      return found;
    },
    run: box.run,
    close: box.close,
  };
}

/** There is no pkill in the box. */
const END_SMTPD = `for one in /proc/[0-9]*; do
  if [ "$(cat "$one/comm" 2>/dev/null)" = smtpd ]; then kill "\${one#/proc/}" 2>/dev/null || true; fi
done`;

const OPENSMTPD: Readonly<Record<string, string>> = {
  plain: 'relay',
  tls: 'relay tls',
  'no-verify': 'relay tls no-verify',
};

const RELAYS: Asked = Object.fromEntries(
  DOMAINS.flatMap((domain) => Object.keys(OPENSMTPD).map((name) => [`${name}.${domain}`, name])),
);

/** Addresses of servers that a session has ended with an error: no mail is named then. */
function failedAt(lines: readonly string[]): Set<string> {
  const bySession = new Map<string, string>();
  const failed = new Set<string>();
  for (const line of lines) {
    const [session = ''] = line.split(' ');
    const [, address] = /mta connecting address=\S+ host=(\S+)/.exec(line) ?? [];
    if (address !== undefined) bySession.set(session, address);
    if (line.includes(' mta error ')) failed.add(bySession.get(session) ?? '');
  }
  return failed;
}

/** `asked`: which of OPENSMTPD each domain has; `addressOf` is its server's, where each has one of its own. */
export async function openOpenSmtpd(
  inside: Namespace,
  files: Readonly<Record<string, string>>,
  asked: Asked = RELAYS,
  addressOf?: (domain: string) => string,
): Promise<Mta> {
  const actions = Object.entries(OPENSMTPD).map(([name, how]) => `action "${name}" ${how}`);
  const matches = Object.entries(asked).map(
    ([domain, name]) => `match from local for domain "${domain}" action "${name}"`,
  );
  const box = await machine(
    inside,
    'opensmtpd',
    `
    chgrp opensmtpq /usr/sbin/smtpctl
    chmod 2755 /usr/sbin/smtpctl`,
  );
  const config = ['listen on 127.0.0.1', ...actions, ...matches];
  await box.write({ ...files, '/etc/smtpd.conf': `${config.join('\n')}\n` });
  let end = async (): Promise<void> => {};
  let log: Log;
  const start = async (): Promise<void> => {
    const child = box.spawn(['smtpd', '-d']);
    const closed = once(child, 'close');
    log = new Log(child);
    await box.run(['sh', '-c', 'until timeout 5 smtpctl show status >/dev/null 2>&1; do sleep 0.05; done']);
    end = async () => {
      await box.run(['sh', '-c', END_SMTPD], OPTIONS);
      await closed;
      end = async () => {};
    };
  };
  const settled = async (domains: readonly string[], from: number): Promise<readonly Tried[]> => {
    const lines = await log.until((all) => {
      const undone = domains.filter((domain) => !haveAll([domain], /mta delivery/)(all));
      if (addressOf) {
        const failed = failedAt(all);
        return undone.every((domain) => failed.has(addressOf(domain)));
      }
      // A relay whose TLS it does not accept is tried again and again.
      return all.filter((line) => line.includes(' mta error ')).length >= undone.length;
    }, from);
    return tried(domains, lines, / result="Ok"/);
  };
  return {
    async tryAll(batches) {
      await start();
      await submit(box, 'opensmtpd', batches);
      return settled(
        batches.flatMap(({ domains }) => domains),
        0,
      );
    },
    async tryAgain(domains) {
      // It leaves a server alone for 15 s after an error; what it has heard of that is gone with it.
      await end();
      await start();
      // What it has not read from its disk yet is not scheduled, and nothing tells when it has.
      const over = new AbortController();
      const scheduling = (async () => {
        while (!over.signal.aborted) {
          await box.run(['smtpctl', 'schedule', 'all'], OPTIONS);
          await sleep(200);
        }
      })();
      try {
        return await settled(domains, 0);
      } finally {
        over.abort();
        await scheduling;
      }
    },
    // One after the other: it leaves a server alone for a while after an error, whatever the next mail asks of it.
    async round(domains, body) {
      const found: Tried[] = [];
      for (const batch of oneEach(domains, body)) {
        await start();
        try {
          await submit(box, 'opensmtpd', [batch]);
          found.push(...(await settled(batch.domains, 0)));
        } finally {
          await end();
          await box.run(['sh', '-c', 'rm -rf /var/spool/smtpd/queue/*'], OPTIONS);
        }
      }
      return found;
    },
    run: box.run,
    close: async () => {
      await end();
      await box.close();
    },
  };
}
