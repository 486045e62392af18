/** The lab's senders, unmodified clients run in a namespace: swaks, and an application that uses a mail library. */
import { fileURLToPath } from 'node:url';
import type { Namespace } from './namespace.ts';

/** What a sender was told: the reply that ended its attempt, or why there was none. */
export type Saw = {
  /** the whole reply as it came, lines joined by a space; empty when no server answered */
  readonly reply: string;
  /** the client's own words when the connection failed: `Connection refused` */
  readonly failure: string | undefined;
};

export type Mail = {
  readonly server: string;
  readonly port: number;
  /** the address the client binds to */
  readonly source: string;
  readonly helo: string;
  /** empty for the null sender */
  readonly from: string;
  readonly to: readonly string[];
  /** header and body, every line ending in CRLF, the last one too */
  readonly message: Buffer;
  /** the body has octets above 127 and says BODY=8BITMIME */
  readonly is8bit?: boolean;
};

/** What plain-client-main.ts reads. */
export type PlainMail = Omit<Mail, 'message' | 'is8bit'> & { readonly raw: string; readonly is8bit: boolean };

const DEADLINE_MS = 60_000;

export type Sender = (where: Namespace, mail: Mail) => Promise<Saw>;

export const withLibrary: Sender = async (where, mail) => {
  const { message, ...rest } = mail;
  const input: PlainMail = { ...rest, raw: message.toString('base64'), is8bit: mail.is8bit ?? false };
  const script = fileURLToPath(new URL('plain-client-main.ts', import.meta.url));
  const ran = await where.run(process.execPath, [script], { input: JSON.stringify(input), deadlineMs: DEADLINE_MS });
  if (ran.code !== 0 || ran.stdout === '') return { reply: '', failure: ran.stderr.trim() || 'no answer in time' };
  const saw = JSON.parse(ran.stdout) as Saw;
  return { reply: oneLine(saw.reply), failure: saw.failure && wordOf(saw.failure) };
};

export const withSwaks: Sender = async (where, mail) => {
  const ran = await where.run(
    'swaks',
    [
      ...(mail.server.includes(':') ? ['-6'] : ['-4']),
      ...['--server', mail.server, '--port', String(mail.port), '--local-interface', mail.source],
      ...['--helo', mail.helo, '--from', mail.from || '<>', '--to', mail.to.join(',')],
      ...['--timeout', '15', '--data', '-'],
    ],
    // swaks adds a line end of its own.
    { input: mail.message.subarray(0, mail.message.length - 2), deadlineMs: DEADLINE_MS },
  );
  return readSwaks(ran.stdout, ran.stderr);
};

/**
 * What swaks' transcript says in the end: the first reply it calls an error (`<**`), else the one to the final dot.
 * Lines: `<-  250 ok` and `<** 550 no` from the server, ` -> ` from swaks, `*** ` its own errors.
 */
export function readSwaks(stdout: string, stderr: string): Saw {
  const lines = stdout.split('\n');
  const errors = lines.filter((line) => line.startsWith('<** ')).map((line) => line.slice(4));
  if (errors.length > 0) return { reply: oneLine(firstReply(errors)), failure: undefined };
  const quit = lines.lastIndexOf(' -> QUIT');
  const replies: string[] = [];
  for (let at = (quit < 0 ? lines.length : quit) - 1; at >= 0 && lines[at]?.startsWith('<-  '); at--) {
    replies.unshift((lines[at] as string).slice(4));
  }
  if (quit >= 0 && replies.length > 0) return { reply: oneLine(replies.join('\n')), failure: undefined };
  return { reply: '', failure: wordOf(stderr) || 'no answer in time' };
}

/** A reply of several lines has a hyphen after the code in all but its last. */
function firstReply(lines: readonly string[]): string {
  const last = lines.findIndex((line) => !/^\d{3}-/.test(line));
  return lines.slice(0, last + 1 || undefined).join('\n');
}

function oneLine(reply: string): string {
  return reply.replace(/\r?\n\d{3}[- ]?(\d\.\d+\.\d+ )?/g, ' ').trim();
}

/** A client's own account of a failed connection in the words of the system. */
function wordOf(text: string): string {
  if (/ECONNREFUSED|connection refused/i.test(text)) return 'Connection refused';
  if (/ECONNRESET|connection reset|remote host closed/i.test(text)) return 'Connection closed by the other side';
  if (/ETIMEDOUT|timed? ?out/i.test(text)) return 'Connection timed out';
  if (/EHOSTUNREACH|ENETUNREACH|no route|unreachable/i.test(text)) return 'Unreachable';
  return text.replace(/\s+/g, ' ').replaceAll('*** ', '').trim().slice(0, 200);
}
