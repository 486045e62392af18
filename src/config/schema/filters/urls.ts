/** `[filters.urls]` and `[filters.url_dns]` */
import { listOf, table } from '../../field.ts';
import { dnsList } from '../../value/net.ts';
import { choice, integer, path } from '../../value/plain.ts';
import { durationMs } from '../../value/quantity.ts';
import { ACTIONS } from '../words.ts';

export const urls = table('Addresses in text and links against files of your own.', {
  files: listOf(path, {
    doc: 'One address a line: "bad.example" with all names below it, or "host.example/path" with all that begins so; "#" begins a comment. Read anew at each reload.',
    default: [],
    example: ['/etc/postern/bad-urls.txt'],
  }),
  listed: choice(ACTIONS, { doc: 'When one is in a file.', default: 'reject' }),
  failure: choice(ACTIONS, { doc: 'When a file cannot be read.', default: 'ignore' }),
});

export const urlDns = table(
  "Hosts in text and links against lists in DNS (RFC 5782). Each list is told the hosts of your customers' mail: see its terms. One that lists everything, or does not answer you, is left out.",
  {
    lists: listOf(dnsList, {
      doc: 'Zones; behind one its test point, where that is not "test": "uri.example.org test.example.org".',
      default: [],
      example: ['uri.example.org'],
    }),
    timeout: durationMs({ doc: 'For one question.', default: '2s', min: '10ms', max: '30s' }),
    deadline: durationMs({ doc: 'For one message.', default: '5s', min: '10ms', max: '5m' }),
    max_queries: integer({ doc: 'Questions for one message.', default: 20, min: 1, max: 200 }),
    listed: choice(ACTIONS, { doc: 'When a host is listed.', default: 'tag' }),
    failure: choice(ACTIONS, { doc: 'When a list is silent.', default: 'ignore' }),
  },
);
