/** `[[exception]]` */
import { field, list, listOf, optional, type Spec } from '../field.ts';
import { className } from '../value/mail.ts';
import { prefix } from '../value/net.ts';
import { text } from '../value/plain.ts';

/** A day, which ends with it, or a time; both in UTC. */
function endMs(spec: Spec) {
  const type = 'a day such as "2027-01-31", to its end, or a time such as "2027-01-31T18:00Z"';
  return field<number>(
    type,
    (raw) => {
      const day = typeof raw === 'string' && /^\d{4}-\d{2}-\d{2}$/.test(raw);
      const isTime = typeof raw === 'string' && /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?Z$/.test(raw);
      const at = day || isTime ? Date.parse(raw) : Number.NaN;
      return Number.isNaN(at) ? { expected: type } : { value: day ? at + 86_400_000 : at };
    },
    spec,
  );
}

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
