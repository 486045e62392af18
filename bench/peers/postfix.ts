/** Postfix, as a before-queue proxy (smtpd_proxy_filter) and as a queue with a relayhost, with the process limits that the load needs. */
import { chrootOf } from '../../test/kit/debian.ts';
import { openBox } from '../../test/interop/box.ts';
import { LISTEN, SMARTHOST, type Stage } from '../stage.ts';
import { type Peer, type PeerKind, untilServes } from './peer.ts';

/** As the senders of the interop tests have it, so that it is unpacked once. */
const PACKAGES = [
  ...['postfix', 'mawk', 'hostname', 'diffutils', 'base-files', 'base-passwd', 'netbase', 'dash', 'coreutils', 'sed'],
  ...['grep', 'findutils', 'util-linux'],
];
const LOG_FILE = '/var/log/mail.log';

const SETTINGS = [
  'compatibility_level=3.6',
  'myhostname=gw1.example.net',
  'mydestination=',
  'inet_interfaces=all',
  'mynetworks=0.0.0.0/0 [::]/0',
  'smtpd_relay_restrictions=permit_mynetworks,reject',
  'smtpd_recipient_restrictions=permit_mynetworks,reject',
  'smtpd_peername_lookup=no',
  'smtpd_client_connection_count_limit=0',
  'default_process_limit=500',
  'message_size_limit=104857600',
  'alias_maps=',
  'alias_database=',
  `relayhost=[${SMARTHOST.v4.replace(':', ']:')}`,
  'default_destination_concurrency_limit=50',
  'disable_dns_lookups=yes',
  `maillog_file=${LOG_FILE}`,
];

/** What the package's own scripts would have made. */
const SET_UP = `
cp /usr/share/base-passwd/passwd.master /etc/passwd
cp /usr/share/base-passwd/group.master /etc/group
echo 'postfix:x:101:101::/:/usr/sbin/nologin' >>/etc/passwd
printf 'postfix:x:101:\\npostdrop:x:102:\\n' >>/etc/group
printf '127.0.0.1 localhost\\n' >/etc/hosts
mkdir -p /var/log /var/spool /run/lock
[ -e /var/run ] || ln -s /run /var/run
cp /usr/share/postfix/main.cf.debian /etc/postfix/main.cf
cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
cp /usr/share/postfix/dynamicmaps.cf /etc/postfix/dynamicmaps.cf
chown postfix:postfix /var/lib/postfix
chgrp postdrop /usr/sbin/postdrop /usr/sbin/postqueue
chmod 2555 /usr/sbin/postdrop /usr/sbin/postqueue
`;

export async function startPostfix(
  { network }: Stage,
  listener: string,
  {
    settings = [],
    files = {},
  }: { readonly settings?: readonly string[]; readonly files?: Readonly<Record<string, string>> } = {},
): Promise<Peer> {
  const box = await openBox(await chrootOf('postfix', PACKAGES), network.gateway);
  try {
    const services = [LISTEN.v4, LISTEN.v6].map((at) => `${at} inet n - n - - smtpd ${listener}`);
    await box.run(['sh', '-ec', SET_UP]);
    await box.write(files);
    await box.run(['postconf', '-e', ...SETTINGS, ...settings]);
    await box.run(['postconf', '-F', '*/*/chroot=n']);
    await box.run(['postconf', '-MX', 'smtp/inet']);
    await box.run(['sh', '-ec', 'cat >>/etc/postfix/master.cf'], { input: `${services.join('\n')}\n` });
    const { stdout } = await box.run(['postconf', '-h', 'mail_version']);
    await box.run(['postfix', 'start']);
    await untilServes(network.inside, LISTEN.v4);
    return { version: stdout.trim(), target: LISTEN, close: box.close };
  } catch (error) {
    const log = await box.run(['sh', '-c', `tail -n 20 ${LOG_FILE} || true`]).catch(() => undefined);
    await box.close();
    throw new Error(`${(error as Error).message}\n${log?.stdout ?? ''}`, { cause: error });
  }
}

export const postfix: PeerKind = {
  name: 'postfix',
  about: 'Postfix as a before-queue proxy (smtpd_proxy_filter)',
  // a process for each
  idleSessions: 400,
  start: (stage) => startPostfix(stage, `-o smtpd_proxy_filter=${SMARTHOST.v4}`),
};

export const postfixQueue: PeerKind = {
  name: 'postfix-queue',
  about: 'Postfix with its queue and a relayhost; rates are those of mail that has arrived at the sink',
  queues: true,
  rejectsItself: true,
  start: (stage) => startPostfix(stage, ''),
};
