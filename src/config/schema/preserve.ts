/** `[preserve]` */
import { optional, table } from '../field.ts';
import { endpoint } from '../value/net.ts';
import { choice, path } from '../value/plain.ts';
import { durationMs } from '../value/quantity.ts';

export const preserve = table('The servers that hosts call, where a network has egress = "preserve".', {
  connect_timeout: durationMs({
    doc: 'For the connection, and then for the banner: the host waits for its own banner meanwhile.',
    default: '30s',
    min: '100ms',
    max: '4m',
  }),
  reply_timeout: durationMs({
    doc: 'For each reply but the final one (RFC 5321 section 4.5.3.2).',
    default: '5m',
    min: '100ms',
    max: '10m',
  }),
  final_timeout: durationMs({
    doc: 'For the reply to a whole message. All that comes before its final dot has 9 minutes less this, at least 1 minute.',
    default: '5m',
    min: '100ms',
    max: '10m',
  }),
  tls_remembered: durationMs({
    doc: 'How long it is remembered that a server had TLS: when it offers none meanwhile, hosts are told 421 and nothing goes to it in clear. "0s" is not at all.',
    default: '1d',
    max: '90d',
  }),
  resolver: optional(
    endpoint({
      doc: 'A resolver on this machine that validates DNSSEC (unbound, for example), asked over TCP. With it the servers are verified as their domains demand: DANE, else MTA-STS, see docs/tls.md. Without it whatever certificate a server shows is taken.',
      example: '127.0.0.1:53',
      addressOnly: true,
    }),
  ),
  lookup_timeout: durationMs({
    doc: 'For all that has to be looked up about one recipient, the policy of MTA-STS among it.',
    default: '20s',
    min: '100ms',
    max: '4m',
  }),
  lookup_failure: choice(['defer', 'ignore'], {
    doc: 'When the resolver does not answer, or says that an answer is forged. "defer": 451. "ignore": as if the domain demanded nothing.',
    default: 'defer',
  }),
  ca_file: optional(
    path({
      doc: 'Authorities that MTA-STS is checked with, in PEM; without it those of the system.',
      example: '/etc/ssl/x.pem',
    }),
  ),
});
