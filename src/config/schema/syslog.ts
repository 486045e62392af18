/** `[syslog]` */
import { listOf, optional, table } from '../field.ts';
import { endpoint } from '../value/net.ts';
import { choice, path } from '../value/plain.ts';

const FACILITIES = ['mail', 'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'] as const;
/** record/syslog-line.ts says what each is; the compiler compares them. */
const FIELDS = [
  ...([
    'session',
    'network',
    'mode',
    'subscriber',
    'source',
    'destination',
    'helo',
    'tls',
    'identity',
    'sender',
  ] as const),
  ...(['recipients', 'size', 'verdict', 'class', 'would_be', 'findings', 'reply', 'total_ms'] as const),
] as const;

export const syslog = table(
  'A line for each attempt to a syslog server (RFC 5424), and one more where a server answered. Off until "server" is set.',
  {
    server: optional(endpoint({ doc: 'Where it listens.', example: '192.0.2.5:514' })),
    transport: choice(['udp', 'tcp', 'tls'], {
      doc: '"udp": sent and forgotten. "tcp", "tls": lines wait, 10000 at most, while the server is away; what is lost is counted.',
      default: 'udp',
    }),
    ca_file: optional(
      path({
        doc: 'Certificates to trust instead of the system\'s, for "tls".',
        example: '/etc/postern/syslog-ca.pem',
      }),
    ),
    facility: choice(FACILITIES, { doc: 'The facility of the lines.', default: 'mail' }),
    fields: listOf((spec) => choice(FIELDS, spec), {
      doc: 'What a line has, in this order, behind the id. Addresses of mail are as "log" of the network leaves them.',
      default: [...FIELDS],
    }),
  },
);
