/**
 * What becomes of a mail from each sender, as it is set up for TLS, towards each server that it calls, with both egresses: the
 * table of docs/tls.md as it is expected to hold, written down before any of it is run. A sender whose mail is deferred is made
 * to try once more.
 *
 *     T   TLS on both legs, at the first try
 *     C   in clear on both legs: nobody offers or demands TLS
 *     E   the first try refused our certificate, the second was carried end to end: TLS from the sender to the server
 *     D   deferred, twice: the sender keeps the mail
 */
export const EGRESSES = ['preserve', 'smarthost'] as const;
export type Egress = (typeof EGRESSES)[number];

export const SERVERS = ['none', 'self-signed', 'pkix', 'tlsa', 'tlsa-wrong', 'sts', 'sts-other', 'expired'] as const;
export type Server = (typeof SERVERS)[number];
export type Outcome = 'T' | 'C' | 'E' | 'D';

/** Exim looks for TLSA records whatever it is told, and then they are what counts (hosts_try_dane is all hosts). */
const TABLE: Readonly<Record<Egress, string>> = {
  //                          none  self  pkix  tlsa  wrong sts   other expired
  preserve: `
    postfix may               C     T     T     T     D     T     D     T
    postfix encrypt           D     T     T     T     D     T     D     T
    postfix dane              C     T     T     E     D     T     D     T
    postfix verify            D     D     E     D     E     E     E     D
    postfix fingerprint       D     E     E     E     E     E     E     E
    exim plain                C     T     T     E     D     T     D     T
    exim verify               D     D     E     E     D     E     E     D
    exim require-dane         D     D     D     E     D     D     D     D
    opensmtpd tls             D     D     E     D     E     E     E     D
    opensmtpd no-verify       D     T     T     T     D     T     D     T`,
  // What is not carried goes by the smarthost, which is verified: what the original server is like is not its concern.
  smarthost: `
    postfix may               T     T     T     T     T     T     T     T
    postfix encrypt           T     T     T     T     T     T     T     T
    postfix dane              T     T     T     E     D     T     T     T
    postfix verify            D     D     E     D     E     E     E     D
    postfix fingerprint       D     E     E     E     E     E     E     E
    exim plain                T     T     T     E     D     T     T     T
    exim verify               D     D     E     E     D     E     E     D
    exim require-dane         D     D     D     E     D     D     D     D
    opensmtpd tls             D     D     E     D     E     E     E     D
    opensmtpd no-verify       T     T     T     T     T     T     T     T`,
};

export type Cell = {
  readonly egress: Egress;
  readonly mta: 'postfix' | 'exim' | 'opensmtpd';
  readonly policy: string;
  readonly server: Server;
  readonly expected: Outcome;
  /** by which the sender knows what to ask for, and which has this server alone */
  readonly domain: string;
  /** counts the cells: addresses are made of it */
  readonly number: number;
};

/** IPv4 and IPv6 by the egress. */
export const FAMILY: Readonly<Record<Egress, 'v4' | 'v6'>> = { preserve: 'v4', smarthost: 'v6' };

export const cells: readonly Cell[] = EGRESSES.flatMap((egress) =>
  TABLE[egress]
    .trim()
    .split('\n')
    .flatMap((row, r) => {
      const [mta, policy, ...outcomes] = row.trim().split(/\s+/) as [Cell['mta'], string, ...Outcome[]];
      return SERVERS.map((server, i) => ({
        ...{ egress, mta, policy, server, expected: outcomes[i] as Outcome },
        domain: `${policy}.${mta}.${server}.${FAMILY[egress]}.example.org`,
        number: r * SERVERS.length + i,
      }));
    }),
);

export function serverOf({ egress, number }: Pick<Cell, 'egress' | 'number'>): string {
  return egress === 'preserve' ? `203.0.113.${100 + number}` : `2001:db8:2::1:${(number + 1).toString(16)}`;
}

export const POLICY_SERVER = '203.0.113.90';
