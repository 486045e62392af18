/**
 * What a gateway must say to a host that sends these bytes and nothing more: written from RFC 5321, FEATURES and
 * docs/flow.md, without a line of the gateway's own code, and as simply as can be: the whole text at once.
 *
 * The far side is the one of fake/relay.ts.
 */

export type Limits = {
  readonly errors: number;
  readonly recipients: number;
  readonly commandBytes: number;
  readonly lineBytes: number;
  readonly sizeBytes: number;
};

export type Expected = {
  /** code and, for a refusal of the gateway's own, its class: `250`, `503 protocol.sequence` */
  readonly replies: readonly string[];
  readonly messages: readonly {
    readonly from: string;
    readonly recipients: readonly string[];
    readonly body: string;
  }[];
};

/** An argument that is in no table, because something was put into it: no statement. */
export class Unknown extends Error {}

type Transaction = { readonly from: string; asked: number; readonly accepted: string[] };

/** Arguments of MAIL and RCPT that a generated session may have, and what each gets; `far`: what the address says. */
export const MAIL_ARGUMENTS: Readonly<Record<string, string>> = {
  'FROM:<a@a.example>': 'ok',
  'FROM:<>': 'ok',
  'from: <a@a.example>': 'ok',
  'FROM:<a@a.example> SIZE=100': 'ok with EHLO',
  'FROM:<a@a.example> BODY=8BITMIME RET=HDRS': 'ok with EHLO',
  'FROM:<a@a.example> SIZE=999999999': '552 body.size with EHLO',
  'FROM:<a@a.example> X=1': '555 protocol.parameter',
  'FROM:<a@a.example> SIZE=x': '501 protocol.argument with EHLO',
  'FROM:<a@a.example': '501 protocol.argument',
  'FROM:<\xfc@a.example>': '501 protocol.argument',
  'TO:<a@a.example>': '501 protocol.argument',
  'FROM:<mail550@a.example>': 'ok',
};
export const RCPT_ARGUMENTS: Readonly<Record<string, string>> = {
  'TO:<b@b.example>': 'far',
  'TO:<c@b.example>': 'far',
  'to: <c@b.example>': 'far',
  'TO:<550@b.example>': 'far',
  'TO:<451@b.example>': 'far',
  'TO:<fail@b.example>': 'far',
  'TO:<b@b.example> NOTIFY=NEVER': 'far with EHLO',
  'TO:<b@b.example> SIZE=1': '555 protocol.parameter',
  'TO:<>': '501 protocol.argument',
  'FROM:<b@b.example>': '501 protocol.argument',
};

export function expected(text: string, limits: Limits): Expected {
  const replies: string[] = ['220'];
  const messages: { from: string; recipients: string[]; body: string }[] = [];
  let hello: 'none' | 'HELO' | 'EHLO' = 'none';
  let transaction: Transaction | undefined;
  let errors = 0;
  let bodyMayFollow = false;
  let isClosed = false;

  const close = (): void => void (isClosed = true);
  /** One more refusal for good; too many of them end the session. */
  const countError = (what: string): void => {
    if (!what.startsWith('5') || ++errors < limits.errors || isClosed) return;
    replies.push('421 protocol.errors');
    close();
  };
  const refuse = (what: string, andClose = false): void => {
    replies.push(what);
    if (andClose) close();
    countError(what);
  };

  let at = 0;
  while (!isClosed) {
    const line = lineAt(text, at, limits.commandBytes);
    if (line.kind === 'unfinished') break;
    if (line.kind === 'fault') {
      refuse(`500 ${line.class}`, true);
      break;
    }
    at = line.end;
    const [word = ''] = line.text.split(' ');
    const verb = word.toUpperCase();
    const argument = line.text.includes(' ') ? line.text.slice(line.text.indexOf(' ') + 1).trim() : '';
    const mayBeBody = bodyMayFollow;
    bodyMayFollow = false;

    if (line.text.startsWith('\x16') || /^(GET|POST|PUT|HEAD|OPTIONS|CONNECT) \S+ HTTP\/\d/.test(line.text)) {
      refuse('421 protocol.other', true);
      continue;
    }
    switch (verb) {
      case 'EHLO':
      case 'HELO':
        if (argument === '' || /\s/.test(argument)) refuse('501 protocol.argument');
        else {
          hello = verb;
          transaction = undefined;
          replies.push('250');
        }
        break;
      case 'MAIL': {
        const gets = meaning(MAIL_ARGUMENTS, argument, hello);
        if (hello === 'none' || transaction) refuse('503 protocol.sequence');
        else if (gets !== 'ok') refuse(gets);
        else {
          transaction = { from: argument.replace(/^from: ?/i, ''), asked: 0, accepted: [] };
          replies.push('250');
        }
        break;
      }
      case 'RCPT': {
        const gets = meaning(RCPT_ARGUMENTS, argument, hello);
        if (!transaction) refuse('503 protocol.sequence');
        else if (gets !== 'far') refuse(gets);
        else if (transaction.asked >= limits.recipients) replies.push('452 limit.recipients');
        else if (transaction.from === '<>' && transaction.asked > 0) replies.push('550 sender.bounce');
        else {
          transaction.asked++;
          const path = argument.replace(/^to: ?/i, '');
          const code = /^<mail(\d+)@/.exec(transaction.from)?.[1] ?? /^<(\d+)@/.exec(path)?.[1];
          if (path.startsWith('<fail@')) replies.push('451 upstream.lost');
          else replies.push(code ?? '250');
          if (code === undefined && !path.startsWith('<fail@')) transaction.accepted.push(path);
        }
        break;
      }
      case 'DATA': {
        if (argument !== '') {
          refuse('501 protocol.argument');
          bodyMayFollow = true;
          break;
        }
        if (!transaction || transaction.accepted.length === 0) {
          refuse('503 protocol.sequence');
          bodyMayFollow = true;
          break;
        }
        replies.push('354');
        const body = bodyAt(text, at, limits);
        if (!body) {
          isClosed = true;
          break;
        }
        at = body.end;
        const { from, accepted } = transaction;
        transaction = undefined;
        const gets = body.fault ?? looked(body.text);
        if (gets === undefined) {
          messages.push({ from, recipients: accepted, body: body.text });
          replies.push('250');
          break;
        }
        refuse(gets, body.endIsInDoubt);
        break;
      }
      case 'RSET':
        if (argument !== '') refuse('501 protocol.argument');
        else {
          transaction = undefined;
          replies.push('250');
        }
        break;
      case 'NOOP':
        replies.push('250');
        break;
      case 'QUIT':
        replies.push('221');
        close();
        break;
      case 'VRFY':
        if (argument === '') refuse('501 protocol.argument');
        else replies.push('252');
        break;
      case 'HELP':
        replies.push('214');
        break;
      case 'BDAT':
        refuse('503 protocol.bdat', true);
        break;
      case 'AUTH':
        refuse('502 protocol.auth');
        break;
      case 'EXPN':
      case 'STARTTLS':
      case 'ETRN':
      case 'TURN':
        refuse('502 protocol.not-offered');
        break;
      default:
        refuse('500 protocol.syntax', mayBeBody);
    }
  }
  return { replies, messages };
}

function meaning(table: Readonly<Record<string, string>>, argument: string, hello: string): string {
  const gets = table[argument];
  if (gets === undefined) throw new Unknown(`the model does not know ${JSON.stringify(argument)}`);
  if (!gets.endsWith(' with EHLO')) return gets;
  // Without EHLO nothing was offered, so that no parameter is known.
  return hello === 'EHLO' ? gets.replace(' with EHLO', '') : '555 protocol.parameter';
}

type Line =
  | { readonly kind: 'line'; readonly text: string; readonly end: number }
  | { readonly kind: 'fault'; readonly class: 'protocol.line-end' | 'protocol.line-length' }
  | { readonly kind: 'unfinished' };

/** Octet by octet, as if each came alone: the first thing that is wrong counts. */
function lineAt(text: string, from: number, maxBytes: number): Line {
  for (let at = from; at < text.length; at++) {
    const [c, before] = [text[at], at > from ? text[at - 1] : ''];
    if (before === '\r' && c === '\n') return { kind: 'line', text: text.slice(from, at - 1), end: at + 1 };
    // A CR that stands last may be half of the line's end and does not count yet.
    const contentBytes = at + 1 - from - (c === '\r' ? 1 : 0);
    if (c !== '\n' && contentBytes > maxBytes - 2) return { kind: 'fault', class: 'protocol.line-length' };
    if (c === '\n' || c === '\0' || before === '\r') return { kind: 'fault', class: 'protocol.line-end' };
  }
  return { kind: 'unfinished' };
}

type Body = {
  readonly text: string;
  readonly end: number;
  readonly fault: string | undefined;
  readonly endIsInDoubt: boolean;
};

/** The body from here to its lone dot; undefined when it does not end. */
function bodyAt(text: string, from: number, limits: Limits): Body | undefined {
  const rest = `\r\n${text.slice(from)}`;
  const end = rest.indexOf('\r\n.\r\n');
  const doubt = doubtfulEnd(rest, end < 0 ? rest.length : end + 2);
  if (end < 0 && doubt === undefined) return undefined;
  if (doubt !== undefined) return { text: '', end: from + doubt - 2, fault: '554 body.line-end', endIsInDoubt: true };
  const body = rest.slice(2, end + 2);
  return { text: body, end: from + end + 3, fault: faultOf(body, limits), endIsInDoubt: false };
}

/**
 * A dot alone on what a lenient server takes for a line (LF ends one, with or without CR), where it is not the end: since
 * the true end is the first CRLF . CRLF, one of the two line ends is a bare LF. Where the text behind it goes on.
 */
function doubtfulEnd(rest: string, before: number): number | undefined {
  const lone = /\n\.\r?\n/g;
  for (let match = lone.exec(rest); match && match.index + 1 < before; match = lone.exec(rest)) {
    lone.lastIndex = match.index + 1;
    if (rest.slice(match.index - 1, match.index + 4) !== '\r\n.\r\n') return match.index + match[0].length;
  }
  return undefined;
}

function faultOf(body: string, limits: Limits): string | undefined {
  if (/\r(?!\n)|(?<!\r)\n/.test(body)) return '554 body.line-end';
  if (body.includes('\0')) return '554 body.nul';
  if (body.split('\r\n').some((line) => line.length + 2 > limits.lineBytes)) return '554 body.line-length';
  if (body.length > limits.sizeBytes) return '552 body.size';
  return undefined;
}

/** What the filters say, in the order in which they count. */
function looked(body: string): string | undefined {
  const count = { from: 0, date: 0 };
  for (const stuffed of body.split('\r\n')) {
    const line = stuffed.replace(/^\./, '');
    const name = /^([!-9;-~]+)[ \t]*:/.exec(line)?.[1]?.toLowerCase();
    if (line === '' || (name === undefined && !/^[ \t]/.test(line))) break;
    if (name === 'from' || name === 'date') count[name]++;
  }
  if (count.from === 0) return '550 header.from-missing';
  if (count.from > 1) return '550 header.from-duplicate';
  if (count.date > 1) return '550 header.date-duplicate';
  return body.includes(GTUBE) ? '550 spam.gtube' : undefined;
}

export const GTUBE = ['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'].join('');
