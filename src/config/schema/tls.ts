/** `[tls]` */
import { listOf, optional, table } from '../field.ts';
import { mailOf } from '../value/mail.ts';
import { path } from '../value/plain.ts';
import { durationMs } from '../value/quantity.ts';

export const tls = table('The TLS that hosts are offered, see docs/tls.md.', {
  certificate: optional(
    path({
      doc: 'A certificate with its chain, in PEM, to show to every host. Without it one is made for each name.',
      example: '/etc/postern/host.pem',
    }),
  ),
  key: optional(
    path({ doc: 'The key to it, in PEM, readable by the workers only.', example: '/etc/postern/host.key' }),
  ),
  require_from: listOf(mailOf, {
    doc: 'Senders whose mail is taken over TLS only: all, domains (none below them), addresses. In clear they get 451 4.7.10.',
    default: [],
    example: ['example.net', 'a@example.org'],
  }),
  require_to: listOf(mailOf, {
    doc: 'Recipients whose mail goes on over TLS only, likewise; in clear only over a trusted link.',
    default: [],
    example: ['example.com'],
  }),
  verifying_for: durationMs({
    doc: 'How long it is remembered that a host did not accept our certificate for a server ("verifying" of a network).',
    default: '1d',
    min: '1s',
    max: '90d',
  }),
  opaque_timeout: durationMs({
    doc: 'How long a connection may last that is carried unread. It ends before when nothing goes either way for limits.data_timeout.',
    default: '30m',
    min: '1s',
    max: '1d',
  }),
  handshake_timeout: durationMs({ doc: 'For a TLS handshake of a host.', default: '30s', min: '100ms', max: '5m' }),
});
