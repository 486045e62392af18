/** `[intercept]` */
import { listOf, table } from '../field.ts';
import { interfaceName, prefix } from '../value/net.ts';
import { integer } from '../value/plain.ts';
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
  exempt_to: listOf(prefix, {
    doc: 'Destinations never intercepted. Each is a way round, shown by "postern status".',
    default: [],
    example: ['192.0.2.10/32'],
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
