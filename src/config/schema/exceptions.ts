/** `[[exception]]` */
import { list, listOf, optional } from '../field.ts';
import { className } from '../value/mail.ts';
import { prefix } from '../value/net.ts';
import { text } from '../value/plain.ts';
import { endMs } from '../value/end.ts';

export const exception = list(
  'Somebody who is not refused for something, for a reason and until a time: of `sources`, `destinations` and `identities` each that is not empty must fit. What is counted is counted. It holds for what is carried unread, too. A host that is to skip all of it has mode "exempt" ("postern mode" gives it an end).',
  {
    classes: listOf(className, {
      doc: 'For what it is not refused: "limit" is all of limit.*; "postern classes" lists them. What cannot be carried (protocol.*, body.*), what there is no room for, and what the kernel (network.*, a lock with "kernel") and the far side say stays.',
      example: ['limit.messages', 'limit.recipient-rate'],
      min: 1,
    }),
    sources: listOf(prefix, { doc: 'Where it comes from.', default: [], example: ['198.51.100.17/32'] }),
    destinations: listOf(prefix, { doc: 'The server that was called.', default: [], example: ['203.0.113.0/24'] }),
    identities: listOf(text, {
      doc: 'Who it is behind a subscriber ("identity" of a network); known when the message is there, so only for what is decided then.',
      default: [],
      example: ['newsletter'],
    }),
    until: optional(endMs({ doc: 'When it ends by itself; without it never.', example: '2027-01-31' })),
    reason: text({ doc: 'Why, for whoever finds it.', example: 'ticket 4711: yearly mailing' }),
  },
  { mayBeEmpty: true },
);
