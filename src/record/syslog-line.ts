/**
 * An attempt as RFC 5424 has it: one line about the message, and one about the server that answered, under the same id.
 * Whatever a stranger typed stands in quotes and has no control character left in it.
 */
import { timeText } from '../kit/log.ts';
import type { Attempt } from './events.ts';

export type Facility = 'mail' | `local${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7}`;

type Value = string | number | undefined;

/** What a line about a message may have, by the names of the journal. */
const OF_MESSAGE = {
  session: (a) => a.session,
  network: (a) => a.network,
  mode: (a) => a.mode,
  subscriber: (a) => a.subscriber,
  source: (a) => a.source,
  destination: (a) => a.destination,
  helo: (a) => a.helo,
  tls: (a) => a.tls?.version,
  identity: (a) => a.identity,
  sender: (a) => a.sender,
  recipients: (a) => a.recipients.map(({ recipient }) => recipient).join(' '),
  size: (a) => a.sizeBytes,
  verdict: (a) => a.verdict,
  class: (a) => a.class,
  would_be: (a) => a.wouldBe,
  findings: (a) => a.findings.map(({ name, evidence }) => (evidence === '' ? name : `${name}: ${evidence}`)).join('; '),
  reply: (a) => a.reply,
  total_ms: (a) => Math.round(a.totalMs),
} as const satisfies Readonly<Record<string, (attempt: Attempt) => Value>>;

export type SyslogField = keyof typeof OF_MESSAGE;

const OF_SERVER: Readonly<Record<string, (attempt: Attempt) => Value>> = {
  server: (a) => a.upstream,
  tls: (a) => a.upstreamTls,
  reply: (a) => a.upstreamReply,
  relay_ms: (a) => (a.relayMs === undefined ? undefined : Math.round(a.relayMs)),
};

export type LineOptions = {
  readonly host: string;
  readonly facility: Facility;
  readonly fields: readonly SyslogField[];
};

const SEVERITY = { accept: 6, defer: 5, reject: 4 } as const;
/** Of the number that RFC 5424 section 7.2.2 takes for its examples: a name of our own needs none that is registered. */
const DATA_ID = 'postern@32473';
const MAX_VALUE = 500;

/** One line, or two where a server answered; without a line end, at most 12 KB each. */
export function syslogLines(attempt: Attempt, { host, facility, fields }: LineOptions): readonly string[] {
  const number = facility === 'mail' ? 2 : 16 + Number(facility.slice(-1));
  const head = `<${number * 8 + SEVERITY[attempt.verdict]}>1 ${timeText(attempt.at)} ${host} postern -`;
  const id = parameter('id', attempt.id);
  const message = fields.map((name) => parameter(name, OF_MESSAGE[name](attempt))).join('');
  const lines = [`${head} message [${DATA_ID}${id}${message}]`];
  if (attempt.upstreamReply !== undefined) {
    const server = Object.entries(OF_SERVER).map(([name, of]) => parameter(name, of(attempt)));
    lines.push(`${head} server [${DATA_ID}${id}${server.join('')}]`);
  }
  return lines;
}

// C0, DEL, C1, and what turns or hides text or ends a line.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** RFC 5424 section 6.3.3: a backslash before `"`, `\` and `]`. */
function parameter(name: string, value: Value): string {
  if (value === undefined) return '';
  const text = String(value);
  const short = text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE)}…` : text;
  const clean = short.replace(
    UNSAFE,
    (each) => `<U+${(each.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}>`,
  );
  return ` ${name}="${clean.replace(/["\\\]]/g, '\\$&')}"`;
}
