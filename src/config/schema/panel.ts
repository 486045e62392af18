/** `[panel]` */
import { table } from '../field.ts';
import { endpoint } from '../value/net.ts';

export const panel = table('The page and the API for people.', {
  listen: endpoint({
    doc: 'Where the keeper will serve it. Nothing is served there yet.',
    default: '127.0.0.1:8025',
    addressOnly: true,
  }),
});
