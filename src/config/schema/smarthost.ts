/** `[smarthost]` */
import { listOf, optional, table } from '../field.ts';
import { endpoint } from '../value/net.ts';
import { boolean, choice, integer, path, text } from '../value/plain.ts';
import { durationMs } from '../value/quantity.ts';

export const smarthost = table('The server that takes what is clean.', {
  servers: listOf(endpoint, {
    doc: 'Tried in order; IPv6 as "[2001:db8::1]:587". None, `[]`, where all networks have egress = "preserve".',
    example: ['smtp.example.net:587'],
  }),
  tls: choice(['verify', 'opportunistic', 'none'], {
    doc: '"verify": STARTTLS with a checked certificate or nothing. "none" only with a literal private or loopback address.',
    default: 'verify',
  }),
  trusted_link: boolean({
    doc: 'Whether you vouch for the link to the servers (loopback, IPsec, same rack): hosts are then offered STARTTLS, and what came in encrypted goes on over it, even where the servers offer no TLS. Counted and shown.',
    default: false,
  }),
  ca_file: optional(path({ doc: "Certificates to trust instead of the system's.", example: '/etc/ssl/x.pem' })),
  username: optional(text({ doc: 'SMTP AUTH, together with password_file; only over TLS.', example: 'gw1' })),
  password_file: optional(
    path({
      doc: 'A file with the password, readable by the workers only.',
      example: '/etc/postern/smarthost.password',
    }),
  ),
  max_connections: integer({
    doc: 'Connections to the smarthost, of all workers together.',
    default: 100,
    min: 1,
    max: 5000,
  }),
  connect_timeout: durationMs({
    doc: 'For connecting to a server until its EHLO is answered.',
    default: '10s',
    min: '100ms',
    max: '5m',
  }),
  reply_timeout: durationMs({ doc: 'For each reply but the final one.', default: '60s', min: '100ms', max: '10m' }),
  final_timeout: durationMs({
    doc: 'For the reply to a whole message (RFC 5321 section 4.5.3.2.6). All that comes before its final dot has 9 minutes less this, at least 1 minute: hosts give up after 10, and send again.',
    default: '5m',
    min: '100ms',
    max: '10m',
  }),
  idle_timeout: durationMs({
    doc: 'How long an unused connection is kept.',
    default: '30s',
    min: '100ms',
    max: '5m',
  }),
  hold: durationMs({
    doc: 'How long a host that is slow over its next recipient or its body may hold a connection; then it is given back, and the envelope repeated on one when needed.',
    default: '3s',
    min: '10ms',
    max: '5m',
  }),
  refresh: durationMs({
    doc: 'How often each server is asked what it offers.',
    default: '60s',
    min: '1s',
    max: '1h',
  }),
});
