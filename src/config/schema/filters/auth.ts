/** `[filters.auth]` */
import { table } from '../../field.ts';
import { boolean, choice, integer } from '../../value/plain.ts';
import { durationMs, sizeBytes } from '../../value/quantity.ts';
import { ACTIONS } from '../words.ts';

export const auth = table(
  'SPF, DKIM, DMARC and ARC of what hosts send, as a receiver would find them. Off until "enabled".',
  {
    enabled: boolean({ doc: 'Whether they are looked up.', default: false }),
    deadline: durationMs({ doc: 'For one message.', default: '8s', min: '10ms', max: '5m' }),
    lookup: durationMs({ doc: 'For one question to a name server.', default: '2s', min: '10ms', max: '1m' }),
    threads: integer({
      doc: 'Threads of one worker, of 40 MiB and more each. They also wait, for name servers and for the worker: more than there are processors can be of use.',
      default: 2,
      min: 1,
      max: 32,
    }),
    max_size: sizeBytes({
      doc: 'Of a larger message no signature is looked at.',
      default: '10MiB',
      max: '100MiB',
    }),
    spf: choice(ACTIONS, {
      doc: "The sender's domain says that this host may not send for it.",
      default: 'ignore',
    }),
    dkim: choice(ACTIONS, { doc: 'Signed, and no signature holds.', default: 'ignore' }),
    dmarc_reject: choice(ACTIONS, {
      doc: 'Neither SPF nor DKIM speaks for the author, whose domain wants such mail refused.',
      default: 'ignore',
    }),
    dmarc_quarantine: choice(ACTIONS, { doc: 'Likewise, and it wants it put aside.', default: 'ignore' }),
    author: choice(ACTIONS, { doc: 'From names no author, or authors of several domains.', default: 'ignore' }),
    unknown: choice(ACTIONS, {
      doc: 'A name server did not answer, or something was not looked at: too large, or more signatures than are worth it.',
      default: 'ignore',
    }),
    failure: choice(ACTIONS, { doc: 'When the filter fails or is late.', default: 'ignore' }),
  },
);
