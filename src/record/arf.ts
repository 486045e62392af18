/** A refused message as a report to whoever answers for its sender (RFC 5965). */
import type { FeedbackType } from '../policy/feedback.ts';
import type { Attempt, Copy } from './events.ts';
import { compose, type OwnMail, type Writer } from './own-mail.ts';

export type Refused = {
  readonly to: string;
  readonly type: FeedbackType;
  /** as the network's `log` leaves it */
  readonly attempt: Attempt;
  /** whom it counts for: `@web-17`, or an address */
  readonly subject: string;
  /** what the worker handed over of the message, if anything */
  readonly copy: Copy | undefined;
  readonly version: string;
  /** `gateway.help_url`, to which the class is appended */
  readonly helpUrl: string;
  readonly nowMs: number;
};

const MAX_RECIPIENTS = 20;
const LINE_END = '\r\n';
const WORDS: Readonly<Record<FeedbackType, string>> = {
  abuse: 'looks like spam',
  fraud: 'looks like fraud',
  virus: 'has a virus',
};

export function composeArf(writer: Writer, refused: Refused): Promise<OwnMail> {
  const { to, attempt, copy, nowMs } = refused;
  const fields = feedbackFields(writer, refused).map(([name, value]) => `${name}: ${clean(value)}${LINE_END}`);
  const [third, bytes]: readonly [string, Buffer] = copy
    ? [copy.isWhole ? 'message/rfc822' : 'text/rfc822-headers', Buffer.from(copy.octets, 'base64')]
    : ['text/rfc822-headers', Buffer.from(traceOf(writer.gateway, attempt), 'latin1')];
  return compose(writer, {
    to,
    subject: `Refused mail from ${attempt.subscriber ?? attempt.source}: ${attempt.class}`,
    type: 'multipart/report; report-type=feedback-report',
    parts: [
      { kind: 'text', text: wordsOf(writer, refused) },
      { kind: 'exact', type: 'message/feedback-report', bytes: Buffer.from(fields.join(''), 'utf8') },
      { kind: 'exact', type: third, bytes },
    ],
    nowMs,
  });
}

function wordsOf({ gateway }: Writer, { type, attempt, subject, copy, helpUrl }: Refused): string {
  const { id, source, identity, class: of, findings } = attempt;
  const who = [
    `from ${source}`,
    ...(subject === source ? [] : [`(${subject.replace(/^@/, '')})`]),
    ...(identity === undefined || identity === '' ? [] : [`sent as ${identity}`]),
  ];
  return [
    `A message ${who.join(' ')}`,
    `was refused by ${gateway}, since it ${WORDS[type]}.`,
    '',
    `Class: ${of} (${helpUrl}${of})`,
    `Id: ${id}`,
    ...findings
      .slice(0, 10)
      .map(({ filter, name, evidence }) => `Finding: ${filter}, ${name}${evidence && `: ${evidence}`}`),
    '',
    copy
      ? `Attached: the same for programs, and the ${copy.isWhole ? 'message' : "message's header"}.`
      : 'Attached: the same for programs. Of the message nothing was kept.',
    'The host has been told, and nobody has got the message.',
    'Please see to it that no more of this kind is sent.',
    '',
  ]
    .map(clean)
    .join('\n');
}

type Pair = readonly [name: string, value: string];

/** RFC 5965 section 3: the required ones first, each once. */
function feedbackFields({ gateway }: Writer, { type, attempt, subject, version }: Refused): readonly Pair[] {
  const { sender, recipients, source, at, id, class: of } = attempt;
  // What the network's `log` has left out, or what does not fit into the ASCII of this part.
  const known = (address: string): boolean => /^[\x20-\x7e]+$/.test(address) && !address.startsWith('hash:');
  // A domain, not the literal of an address (RFC 5965 section 3.2).
  const domain = sender !== undefined && known(sender) ? /@([\w.-]+)>?$/.exec(sender)?.[1] : undefined;
  return [
    ['Feedback-Type', type],
    ['User-Agent', `Postern/${version}`],
    ['Version', '1'],
    ...(sender !== undefined && known(sender) ? [['Original-Mail-From', inBrackets(sender)] as const] : []),
    ['Arrival-Date', dateText(at)],
    ['Reporting-MTA', `dns; ${gateway}`],
    ['Source-IP', source],
    ['Authentication-Results', `${gateway}; auth=none smtp.auth=${quoted(accountOf(subject, attempt.identity))}`],
    ...recipients
      .filter(({ recipient }) => known(recipient))
      .slice(0, MAX_RECIPIENTS)
      .map(({ recipient }) => ['Original-Rcpt-To', inBrackets(recipient)] as const),
    ...(domain === undefined ? [] : [['Reported-Domain', domain] as const]),
    ['X-Postern-Id', id],
    ['X-Postern-Class', of],
  ];
}

/** Who it is behind the subscriber, and the subscriber: `bob@web-17`, `bob@example.com`, `198.51.100.7`. */
export function accountOf(subject: string, identity: string | undefined): string {
  const whose = subject.replace(/^@/, '');
  if (identity === undefined || identity === '') return whose;
  return identity.includes('@') ? identity : `${identity}@${whose}`;
}

/** RFC 8601 section 2.2: what is no plain word stands in quotes. */
function quoted(account: string): string {
  const ascii = account.replace(/[^\x20-\x7e]/g, '?');
  return /^[\w.+-]+(?:@[\w.-]+)?$/.test(ascii) ? ascii : `"${ascii.replace(/["\\]/g, '\\$&')}"`;
}

/** The Received line that the message would have got: where nothing of the message is kept, all that there is of a header. */
function traceOf(gateway: string, { helo, source, id, at, esmtp, tls }: Attempt): string {
  const name = (helo ?? 'unknown').replace(/[^\w.:[\]-]/g, '?').slice(0, 255);
  const literal = source.includes(':') ? `IPv6:${source}` : source;
  return [
    `Received: from ${name} ([${literal}])`,
    `\tby ${gateway} (Postern) with ${esmtp ? 'ESMTP' : 'SMTP'}${tls ? 'S' : ''} id ${id};`,
    `\t${dateText(at)}`,
    '',
  ].join(LINE_END);
}

function inBrackets(path: string): string {
  return path.startsWith('<') ? path : `<${path}>`;
}

export function dateText(ms: number): string {
  return new Date(ms).toUTCString().replace('GMT', '+0000');
}

/** What came from a stranger, on one line and without what turns or hides text. */
function clean(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, ' ').slice(0, 900);
}
