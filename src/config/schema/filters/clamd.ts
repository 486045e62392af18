/** `[filters.clamd]` */
import { optional, table } from '../../field.ts';
import { service } from '../../value/net.ts';
import { choice, integer } from '../../value/plain.ts';
import { durationMs, sizeBytes } from '../../value/quantity.ts';
import { ACTIONS } from '../words.ts';

export const clamd = table('ClamAV. Off until "server" is set.', {
  server: optional(service({ doc: 'Its socket, or its address and port.', example: '/run/clamav/clamd.ctl' })),
  deadline: durationMs({ doc: 'For one message.', default: '10s', min: '10ms', max: '5m' }),
  max_concurrent: integer({
    doc: 'Messages of one worker that it is given at once; the others wait, within the deadline.',
    default: 8,
    min: 1,
    max: 100,
  }),
  max_size: sizeBytes({
    doc: 'Larger messages are not given to it. Not more than its own StreamMaxLength, MaxScanSize and MaxFileSize.',
    default: '25MiB',
    max: '2GiB',
  }),
  found: choice(ACTIONS, { doc: 'It found something.', default: 'reject' }),
  unscanned: choice(ACTIONS, {
    doc: 'Too large, or beyond limits of its own: it has not seen all of it, which is never "clean".',
    default: 'tag',
  }),
  failure: choice(ACTIONS, { doc: 'When it cannot be asked, fails or is late.', default: 'defer' }),
  failure_text: choice(ACTIONS, {
    doc: 'Likewise, and the message is plain text without attachments.',
    default: 'defer',
  }),
  stale: durationMs({
    doc: 'Age of its definitions from which on the log warns.',
    default: '24h',
    min: '1h',
    max: '365d',
  }),
});
