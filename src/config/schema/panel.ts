/** `[panel]` */
import { listOf, table } from '../field.ts';
import { endpoint, prefix } from '../value/net.ts';
import { boolean } from '../value/plain.ts';

export const panel = table('The page and the API for people.', {
  listen: endpoint({
    doc: 'Where the keeper serves it, without TLS: to be reached by "ssh -L", or through a web server that adds TLS.',
    default: '127.0.0.1:8025',
    addressOnly: true,
  }),
  proxies: listOf(prefix, {
    doc: 'Web servers in front of the panel: the last address of their X-Forwarded-For is whom they speak for.',
    default: [],
    example: ['192.0.2.80/32'],
  }),
  apply: boolean({
    doc: 'Whether a user with the role "admin" may change this file in the panel: always on trial, back by itself unless confirmed.',
    default: false,
  }),
});
