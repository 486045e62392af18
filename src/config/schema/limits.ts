/** `[limits]` */
import { table } from '../field.ts';
import { integer } from '../value/plain.ts';
import { durationMs, sizeBytes } from '../value/quantity.ts';

export const limits = table('Bounds of a session and of a message.', {
  message_size: sizeBytes({ doc: 'Largest message; also announced as SIZE.', default: '50MiB', max: '2GiB' }),
  recipients: integer({
    doc: 'Recipients of one message; the next gets 452 (RFC 5321 section 4.5.3.1.8 asks for 100).',
    default: 1000,
    min: 100,
    max: 100000,
  }),
  errors: integer({
    doc: 'Refused commands in one session before it is ended with 421.',
    default: 20,
    min: 1,
    max: 1000,
  }),
  body_line: sizeBytes({
    doc: 'Longest line of a body. RFC 5322 says 998; longer ones are passed on unchanged up to this.',
    default: '64KiB',
    min: '998B',
    max: '2GiB',
  }),
  command_timeout: durationMs({
    doc: 'From one command to the whole of the next.',
    default: '5m',
    min: '100ms',
    max: '1h',
  }),
  idle_timeout: durationMs({
    doc: 'How long a session may go on without a new message, whatever else it says.',
    default: '15m',
    min: '100ms',
    max: '1d',
  }),
  data_timeout: durationMs({ doc: 'For a whole DATA.', default: '10m', min: '100ms', max: '2h' }),
  data_rate: sizeBytes({
    doc: 'Least bytes per second of a body, counted after its first 30 seconds.',
    default: '500B',
    max: '1GiB',
  }),
  write_timeout: durationMs({
    doc: 'How long a host may leave our replies unread.',
    default: '60s',
    min: '100ms',
    max: '1h',
  }),
  body_memory: sizeBytes({
    doc: 'How much all bodies of one worker hold in memory together; what comes beyond goes to unlinked files in run_dir. Bodies over 64 KiB take at most three quarters of it.',
    default: '64MiB',
    max: '1GiB',
  }),
  body_total: sizeBytes({
    doc: 'How much of all bodies together is held by one worker, in memory and in files; beyond it DATA gets 452.',
    default: '512MiB',
    max: '1024GiB',
  }),
  received: integer({ doc: 'Received lines at which a message counts as looping.', default: 50, min: 5, max: 500 }),
  slow_replies: integer({
    doc: 'How many replies one worker holds back at a time (slow_by of a network); beyond it they go at once.',
    default: 200,
    min: 0,
    max: 100000,
  }),
  notice_every: integer({
    doc: 'The first time that a subscriber is over one of its limits, and each so many times after, is told in the log (limit.reached).',
    default: 100,
    min: 1,
    max: 1000000,
  }),
  pressure: integer({
    doc: 'Percent of the descriptors in use at which deadlines shrink to a fifth; at 80 new connections get 421.',
    default: 60,
    min: 10,
    max: 80,
  }),
});
