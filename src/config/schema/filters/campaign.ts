/** `[filters.campaign]` */
import { table } from '../../field.ts';
import { boolean, choice, integer } from '../../value/plain.ts';
import { durationMs } from '../../value/quantity.ts';
import { ACTIONS } from '../words.ts';

export const campaign = table(
  'Many subscribers whose mails look alike, whatever words, links and order differ: a botnet below every limit. The keeper compares sketches of 63 numbers, never text. A large newsletter of one subscriber is none, nor one message that is sent on by many; what many hosts send by one template (a shop, a forum program) is one: look at what it finds before it refuses.',
  {
    enabled: boolean({
      doc: 'Whether it looks at all. Each message is then asked of the keeper.',
      default: false,
    }),
    subscribers: integer({
      doc: 'So many different subscribers within the window make a campaign.',
      default: 10,
      min: 2,
      max: 1000,
    }),
    window: durationMs({ doc: 'How far back alike mails count.', default: '1h', min: '1m', max: '7d' }),
    max_clusters: integer({
      doc: 'Of how many different mails the keeper knows the look, at about 2 KiB each.',
      default: 50_000,
      min: 1000,
      max: 1_000_000,
    }),
    finding: choice(ACTIONS, { doc: 'When a mail is part of a campaign.', default: 'tag' }),
    failure: choice(ACTIONS, { doc: 'When the keeper does not answer.', default: 'ignore' }),
  },
);
