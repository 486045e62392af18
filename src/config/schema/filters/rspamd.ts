/** `[filters.rspamd]` */
import { optional, table } from '../../field.ts';
import { service } from '../../value/net.ts';
import { choice, integer, text } from '../../value/plain.ts';
import { durationMs, sizeBytes } from '../../value/quantity.ts';
import { ACTIONS } from '../words.ts';

export const rspamd = table('Rspamd. Off until "server" is set.', {
  server: optional(service({ doc: 'Its normal worker.', example: '127.0.0.1:11333' })),
  settings_id: text({
    doc: 'The settings of Rspamd that are asked for: docs/filters.md says which they have to be.',
    default: 'postern',
    pattern: /^[a-z0-9_-]{1,64}$/i,
    type: 'a name of letters, digits, "_" and "-", at most 64',
  }),
  deadline: durationMs({ doc: 'For one message.', default: '5s', min: '10ms', max: '5m' }),
  max_concurrent: integer({
    doc: 'Messages of one worker that it is given at once; the others wait, within the deadline.',
    default: 16,
    min: 1,
    max: 100,
  }),
  max_size: sizeBytes({
    doc: 'Larger messages are not given to it. Not more than its own max_message.',
    default: '10MiB',
    max: '2GiB',
  }),
  reject: choice(ACTIONS, { doc: 'Its action is "reject", "discard" or "quarantine".', default: 'reject' }),
  probable: choice(ACTIONS, { doc: 'Its action is "add header" or "rewrite subject".', default: 'tag' }),
  soft_reject: choice(ACTIONS, { doc: 'Its action is "soft reject".', default: 'defer' }),
  greylist: choice(ACTIONS, { doc: 'Its action is "greylist".', default: 'ignore' }),
  failure: choice(ACTIONS, { doc: 'When it cannot be asked, fails or is late.', default: 'ignore' }),
});
