/** `[panel]` */
import { table } from '../field.ts';
import { endpoint } from '../value/net.ts';

export const panel = table('The page and the API for people.', {
  listen: endpoint({
    doc: 'Where the keeper serves it, without TLS: to be reached by "ssh -L", or through a web server that adds TLS.',
    default: '127.0.0.1:8025',
    addressOnly: true,
  }),
});
