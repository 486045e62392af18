/** `[filters]`: what holds for all of them, and the small ones. */
import { listOf, table } from '../field.ts';
import { endpoint } from '../value/net.ts';
import { choice, integer } from '../value/plain.ts';
import { durationMs } from '../value/quantity.ts';
import { ACTIONS } from './words.ts';
import { attachments } from './filters/attachments.ts';
import { auth } from './filters/auth.ts';
import { behaviour } from './filters/behaviour.ts';
import { campaign } from './filters/campaign.ts';
import { clamd } from './filters/clamd.ts';
import { content } from './filters/content.ts';
import { header } from './filters/header.ts';
import { rspamd } from './filters/rspamd.ts';
import { urlDns, urls } from './filters/urls.ts';

export const filters = table(
  'What looks at a message. Filters report; what a finding or a failure leads to is said here: "ignore" only records it and adds its score, "tag" also puts a line "X-Postern-Tag: CLASS; id=ID" above the message, "defer" and "reject" refuse it, and "lock-points" lets it go and counts for each `[[lock_rule]]` that has the class, as if it had been refused for that.',
  {
    deadline: durationMs({
      doc: 'For all filters of one stage together: before the banner, at the first recipient, after the message.',
      default: '10s',
      min: '10ms',
      max: '5m',
    }),
    gtube: table('The standard test string for spam filters (GTUBE), in the first MiB of a message.', {
      finding: choice(ACTIONS, { doc: 'When the string is found.', default: 'reject' }),
      failure: choice(ACTIONS, { doc: 'When the filter fails or is late.', default: 'defer' }),
    }),
    threads: integer({
      doc: 'Threads of each worker for what takes longer than its loop can spare: large messages, archives.',
      default: 1,
      min: 1,
      max: 16,
    }),
    content,
    attachments,
    campaign,
    behaviour,
    urls,
    url_dns: urlDns,
    rules: table('The rules of your own: see `[[rule]]`.', {
      deadline: durationMs({ doc: 'For all rules on one message.', default: '3s', min: '10ms', max: '5m' }),
      failure: choice(ACTIONS, { doc: 'When they are not done in time.', default: 'ignore' }),
    }),
    header,
    resolver: listOf((spec) => endpoint({ ...spec, addressOnly: true }), {
      doc: 'Name servers that filters ask; none: those of the system. One on this machine that remembers answers is best.',
      default: [],
      example: ['127.0.0.1:53'],
    }),
    auth,
    clamd,
    rspamd,
  },
);
