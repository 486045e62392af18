/** `[preserve]` */
import { table } from '../field.ts';
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
});
