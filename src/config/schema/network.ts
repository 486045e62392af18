/** `[[network]]`, and the settings that a subscriber has from it. */
import { LADDER } from '../../policy/ladder.ts';
import { list, listOf, optional } from '../field.ts';
import { identityRule, mailAddress, senderPattern } from '../value/mail.ts';
import { prefix } from '../value/net.ts';
import { choice, decimal, integer, text } from '../value/plain.ts';
import { durationMs, limit, limits, sizeLimit } from '../value/quantity.ts';
import { NAME, NAME_TYPE } from './words.ts';

/** What a network has; a subscriber may have all but the first three otherwise. */
export const networkFields = {
  name: text({
    doc: 'The name in log, metrics and kernel sets.',
    example: 'customers',
    pattern: /^[a-z][a-z0-9-]{0,15}$/,
    type: 'a name of a-z, 0-9 and "-", a letter first, at most 16',
  }),
  prefixes: listOf(prefix, {
    doc: 'Sources that belong to it.',
    example: ['198.51.100.0/24', '2001:db8:1::/48'],
    min: 1,
  }),
  mode: choice(LADDER, {
    doc: '"exempt": not intercepted. "observe": everything is judged, nothing of ours refused. "enforce". "smarthost-only": port 25 is refused, 587 and 465 are free. "block": port 25 is refused.',
    default: 'enforce',
  }),
  egress: choice(['smarthost', 'preserve'], {
    doc: 'How mail goes on. "smarthost": to `smarthost.servers`. "preserve": to the server that the host had called, from the host\'s own address; both directions have to cross this machine ("postern doctor").',
    default: 'smarthost',
  }),
  trace: choice(['show', 'hide'], {
    doc: 'Whether a Received line of ours is put on top of each message. "hide" only with egress "preserve".',
    default: 'show',
  }),
  fail: choice(['closed', 'open'], {
    doc: 'When no worker answers: "closed" refuses, "open" lets this network\'s connections through.',
    default: 'closed',
  }),
  refuse: choice(['reset', 'drop'], { doc: 'How the kernel refuses.', default: 'reset' }),
  ipv6_prefix: integer({
    doc: 'IPv6: how many bits of an address are one subscriber where none is configured. A host has at least a /64 to choose from, a line often a /56.',
    default: 64,
    min: 32,
    max: 64,
  }),
  max_connections: integer({
    doc: 'Concurrent, per subscriber: a configured one with all its addresses together, else a source address (IPv6: per `ipv6_prefix`).',
    default: 200,
    min: 1,
    max: 100000,
  }),
  content: choice(['full', 'blind'], {
    doc: 'With "blind" no filter looks at a message: none reads a byte of it. What stands before the message, envelope and rates, is judged as ever, and Received lines are counted to break loops.',
    default: 'full',
  }),
  score_tag: optional(
    decimal({
      doc: "Sum of all findings' scores at which a message is marked; 1 is certainty.",
      example: 0.6,
      max: 100,
    }),
  ),
  score_defer: optional(decimal({ doc: 'The sum at which it is put off.', example: 0.8, max: 100 })),
  score_reject: optional(decimal({ doc: 'The sum at which it is refused.', example: 0.9, max: 100 })),
  limit_connections: limits(limit, {
    doc: 'New connections of one subscriber, "5/minute": an element for each period. Over it 421. Minutes and hours fill evenly, longer periods are those of the calendar in UTC.',
    example: ['60/minute'],
  }),
  limit_messages: limits(limit, {
    doc: 'Messages that the far side took; over it 451 to each recipient.',
    example: ['300/hour', '5000/week'],
  }),
  limit_recipients: limits(limit, { doc: 'Recipients that the far side took.', example: ['2000/day'] }),
  quota: choice(['fixed', 'earned'], {
    doc: '"earned": who has not been seen to send begins with quota_start recipients a day, which doubles after each clean day with mail, up to the `/day` of limit_recipients, and halves after a bad one ("postern explain ADDRESS" shows each step).',
    default: 'fixed',
  }),
  quota_start: integer({
    doc: 'Recipients a day of who has not been seen to send.',
    default: 50,
    min: 1,
    max: 1000000,
  }),
  quota_bad: integer({
    doc: "Percent of a day's recipients from which on it was a bad day: recipients and messages that the far side refused for good, and messages refused here, or that would have been.",
    default: 10,
    min: 1,
    max: 100,
  }),
  limit_bytes: limits(sizeLimit, { doc: 'Octets of messages that the far side took.', example: ['1GiB/day'] }),
  limit_domains: limits(limit, {
    doc: 'Different domains of recipients, in periods of the calendar.',
    example: ['200/hour'],
  }),
  limit_senders: limits(limit, {
    doc: 'Different sender addresses, in periods of the calendar. The null sender is none.',
    example: ['20/hour'],
  }),
  limit_unknown: limits(limit, {
    doc: 'Recipients that the far side did not know (550, 551 or 553, with 5.1.x where it says more).',
    example: ['50/day'],
  }),
  verifying: choice(['pass', 'refuse', 'intercept'], {
    doc: 'A host that did not accept our certificate for the server that it called, when it calls that server again within tls.verifying_for. "pass": carried end to end, unread, to the original server, over TLS alone; from the host\'s own address with egress "preserve", else from this machine\'s. "refuse": 421 that says why. "intercept": as any other.',
    default: 'pass',
  }),
  opaque_connections: integer({
    doc: 'Concurrent connections that are carried unread, per subscriber.',
    default: 5,
    min: 1,
    max: 100000,
  }),
  limit_opaque: limits(limit, {
    doc: 'New connections of one subscriber that are carried unread; over it 421.',
    default: ['10/minute', '200/day'],
  }),
  limit_opaque_bytes: limits(sizeLimit, {
    doc: 'Octets carried unread, both ways together; over it the connection is cut off, and the next gets 421.',
    default: ['50MiB/day'],
  }),
  identity: listOf(identityRule, {
    doc: 'Who it is behind a subscriber: the first of these that finds something. "sender" is the envelope\'s, "header NAME" a whole value, "header NAME PATTERN" what the one group catches (RE2, linear time).',
    default: [],
    example: ['header X-AuthUser', 'header X-PHP-Originating-Script ^(.*?)\\(', 'sender'],
  }),
  identity_limit_messages: limits(limit, {
    doc: 'The same for each identity, beside the limits of its subscriber: known, and refused, when the message is there.',
    example: ['50/hour'],
  }),
  identity_limit_recipients: limits(limit, { doc: 'Recipients that the far side took.', example: ['200/day'] }),
  identity_limit_bytes: limits(sizeLimit, { doc: 'Octets of its messages.', example: ['100MiB/day'] }),
  identity_limit_domains: limits(limit, {
    doc: "Different domains of its messages' recipients.",
    example: ['50/hour'],
  }),
  identity_limit_senders: limits(limit, { doc: 'Different sender addresses.', example: ['3/hour'] }),
  identity_limit_unknown: limits(limit, {
    doc: 'Recipients that the far side did not know, of transactions with a message.',
    example: ['10/day'],
  }),
  senders: listOf(senderPattern, {
    doc: 'Sender addresses that these hosts may use in MAIL; none is any. The null sender is always allowed.',
    default: [],
    example: ['*@example.com', '*@*.example.com', 'shop@example.net'],
  }),
  bounce_recipients: integer({
    doc: 'Recipients of one message with the null sender: a bounce has one.',
    default: 1,
    min: 1,
    max: 100000,
  }),
  messages_per_connection: integer({
    doc: 'Messages over one connection, then 421 at the next MAIL; 0 is without end.',
    default: 0,
    min: 0,
    max: 100000,
  }),
  slow_from: integer({
    doc: 'Percent of a limit from which on each recipient is answered later, by slow_by; 0 is never.',
    default: 0,
    min: 0,
    max: 100,
  }),
  slow_by: durationMs({ doc: 'How much later.', default: '5s', min: '10ms', max: '60s' }),
  log: choice(['full', 'hash', 'none'], {
    doc: 'Addresses of mail in journal and log: as they are, as a keyed hash, or not at all.',
    default: 'full',
  }),
  contact: optional(
    mailAddress({
      doc: "Who is to be told of what these hosts do: a subscriber's own, else the tenant's, else the network's, else reports.contact.",
      example: 'abuse@example.net',
    }),
  ),
  report: choice(['message', 'headers', 'none'], {
    doc: 'What of a refused message goes to the contact ([reports]): "message": all of it up to 256 KiB, else its header; "headers": its header; "none": no report. Where `log` is not "full", and of a virus, never more than the header, and with `log` "hash" or "none" only our own line of trace.',
    default: 'message',
  }),
  tenant: optional(
    text({
      doc: 'To whom these hosts belong: several subscribers may have one tenant.',
      example: 'example-hosting',
      pattern: NAME,
      type: NAME_TYPE,
    }),
  ),
} as const;

export const network = list(
  'A named set of prefixes with one mode and one set of settings. Prefixes of two networks may not overlap.',
  networkFields,
);
