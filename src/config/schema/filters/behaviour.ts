/** `[filters.behaviour]` */
import { table } from '../../field.ts';
import { boolean, choice, integer } from '../../value/plain.ts';
import { durationMs } from '../../value/quantity.ts';
import { ACTIONS } from '../words.ts';

export const behaviour = table(
  'How the subscriber has behaved within the window, in all of its mail. Also in networks with content = "blind", for it looks at no message.',
  {
    enabled: boolean({
      doc: 'Whether it looks at all. Each transaction is then asked of the keeper.',
      default: false,
    }),
    window: durationMs({
      doc: 'How far back it counts, and half as long again at most.',
      default: '1h',
      min: '1m',
      max: '7d',
    }),
    max_helos: integer({ doc: 'Names in HELO and EHLO.', default: 10, min: 2, max: 200 }),
    max_sender_domains: integer({ doc: 'Domains of envelope senders.', default: 50, min: 2, max: 2000 }),
    max_recipients: integer({ doc: 'Different recipients.', default: 1000, min: 2, max: 2000 }),
    max_unknown: integer({
      doc: 'Percent of recipients that the far side does not know.',
      default: 30,
      min: 1,
      max: 100,
    }),
    min_asked: integer({ doc: 'Recipients before that percentage counts.', default: 20, min: 1, max: 10_000 }),
    helo: choice(ACTIONS, { doc: 'At max_helos.', default: 'tag' }),
    senders: choice(ACTIONS, { doc: 'At max_sender_domains.', default: 'tag' }),
    recipients: choice(ACTIONS, { doc: 'At max_recipients.', default: 'ignore' }),
    unknown: choice(ACTIONS, { doc: 'At max_unknown.', default: 'tag' }),
    first: choice(ACTIONS, {
      doc: "The first mail of a subscriber that the keeper has seen; known after a window from the keeper's start.",
      default: 'ignore',
    }),
    early: choice(ACTIONS, { doc: 'It spoke before it was greeted (RFC 5321 section 3.1).', default: 'ignore' }),
    failure: choice(ACTIONS, { doc: 'When the keeper does not answer.', default: 'ignore' }),
  },
);
