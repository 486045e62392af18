/** `[[subscriber]]`, and where more of them are. */
import { inherited, list, listOf, optional, table } from '../field.ts';
import { subscriberPrefix } from '../value/net.ts';
import { path, text } from '../value/plain.ts';
import { NAME, NAME_TYPE } from './words.ts';
import { networkFields } from './network.ts';

export const subscribers = table('Where more subscribers are.', {
  directory: optional(
    path({
      doc: 'A directory whose files `*.toml` (with `[[subscriber]]`) and `*.csv` ("postern subscriber" says how) are read beside this one, at each reload too.',
      example: '/etc/postern/subscribers',
    }),
  ),
});

export const subscriber = list(
  "A named set of prefixes inside one network, counted and limited together. What is not set here is the network's. Of prefixes that lie in one another the longest counts.",
  {
    name: text({
      doc: 'The name in log, limits and locks.',
      example: 'web-17',
      pattern: NAME,
      type: NAME_TYPE,
    }),
    prefixes: listOf(subscriberPrefix, {
      doc: 'Sources that belong to it.',
      example: ['198.51.100.17', '2001:db8:1:17::/64'],
      min: 1,
    }),
    ...inherited(networkFields, ['name', 'prefixes', 'ipv6_prefix']),
  },
  { mayBeEmpty: true },
);
