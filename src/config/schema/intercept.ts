/** `[intercept]` and `[[exempt_to]]` */
import { list, listOf, optional, table } from '../field.ts';
import { endMs } from '../value/end.ts';
import { interfaceName, prefix } from '../value/net.ts';
import { integer, text } from '../value/plain.ts';
import { perSecond } from '../value/quantity.ts';

export const intercept = table('What the kernel takes, and where it hands it.', {
  inside: listOf(interfaceName, {
    doc: 'Interfaces whose hosts are intercepted.',
    example: ['lan0'],
    min: 1,
  }),
  port: integer({
    doc: 'Where the workers listen; never reachable from outside directly.',
    default: 2525,
    min: 1024,
    max: 65535,
  }),
  connection_rate: perSecond({
    doc: 'New connections per source (IPv6: per /64) before the kernel refuses the rest.',
    default: '50/s',
  }),
  connection_burst: integer({
    doc: 'How many may come at once before that rate counts.',
    default: 200,
    min: 1,
    max: 10000,
  }),
});

export const exemptTo = list(
  'Destinations that nobody\'s connections are intercepted to, for a reason and until a time. Each is a way round, shown by "postern status".',
  {
    prefixes: listOf(prefix, { doc: 'The servers.', example: ['192.0.2.10/32'], min: 1 }),
    until: optional(endMs({ doc: 'When it ends by itself; without it never.', example: '2027-01-31' })),
    reason: text({ doc: 'Why, for whoever finds it.', example: 'ticket 4711: monitoring of our own MX' }),
  },
  { mayBeEmpty: true },
);
