/** A box that a sender can run in: what there is on any Debian machine, and what packages' scripts would have made. */
import { type Namespace, PLACES } from '../../src/lab/network.ts';
import { chrootOf } from '../kit/debian.ts';
import { type Box, openBox } from './box.ts';

export const NAME = 'mail.customers.example';
export const SEND_TIMEOUT_MS = 300_000;
export const OPTIONS = { deadlineMs: SEND_TIMEOUT_MS };

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
export const TOOLS = [
  'base-files',
  'base-passwd',
  'netbase',
  'dash',
  'coreutils',
  'sed',
  'grep',
  'findutils',
  'util-linux',
];

/** What is installed in each machine, by its name. */
const MACHINES = {
  clients: ['swaks', 'python3', 'libio-socket-inet6-perl', 'libnet-ssleay-perl', ...TOOLS],
  postfix: ['postfix', 'mawk', 'hostname', 'diffutils', ...TOOLS],
  exim: ['exim4-daemon-light', ...TOOLS],
  opensmtpd: ['opensmtpd', ...TOOLS],
  sendmail: ['sendmail-bin', 'sendmail-cf', 'm4', ...TOOLS],
  spf: ['spfquery', ...TOOLS],
} as const;

/** Fetches them all, so that no test waits for a mirror. Quick when they are there. */
export async function unpackMachines(): Promise<void> {
  for (const [name, packages] of Object.entries(MACHINES)) await chrootOf(name, packages);
}

/** What the scripts of Exim's package would have made, for a machine on the internet. */
export const EXIM_SET_UP = `
mkdir -p /var/lib/exim4 /var/log/exim4 /var/spool/exim4
chown Debian-exim:adm /var/log/exim4
chown Debian-exim:Debian-exim /var/spool/exim4
chown root:Debian-exim /etc/exim4/passwd.client
cat >/etc/exim4/update-exim4.conf.conf <<'END'
dc_eximconfig_configtype='internet'
dc_other_hostnames='${NAME}'
dc_local_interfaces='127.0.0.1 ; ::1'
END
update-exim4.conf
`;

/** Opens one; `setUp` is run in it as a shell script. Whoever opens it closes it. */
export async function machine(inside: Namespace, name: keyof typeof MACHINES, setUp: string): Promise<Box> {
  const box = await openBox(await chrootOf(name, MACHINES[name]), inside);
  try {
    await box.write(MACHINE);
    await box.run(['sh', '-ec', BASE + setUp]);
    return box;
  } catch (error) {
    await box.close();
    throw error;
  }
}
