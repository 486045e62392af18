/**
 * The server's side of one SMTP session, without I/O: events in, commands out.
 *
 * The driver owns socket, clock and the other rooms; it tells what happened (`step`) and does what it is told. Between
 * two events the session waits for what `wants` says. Replies leave in the order of the commands they answer, so that
 * recipients of a pipelined group can be asked for side by side.
 *
 * It never says 250 to a message: that reply comes in with the event `outcome`. Where the far side answers the session
 * (egress `preserve`), the same holds for EHLO, MAIL and whatever else a server can be asked: event `answer`.
 */
import type { Class } from '../policy/classes.ts';
import { type Capabilities, isStartTls, noCapabilities, type Offer } from './capabilities.ts';
import { type Command, isOtherProtocol, parseCommand, type Verb } from './command.ts';
import { type How, type Reply, refusal, reply, replyOnce } from './reply.ts';
import type { Recipient, Transaction } from './transaction.ts';
import type { Dialog, PassedOn, SessionOptions } from './verb/dialog.ts';
import { data } from './verb/data.ts';
import { hello } from './verb/hello.ts';
import { mail } from './verb/mail.ts';
import { rcpt } from './verb/rcpt.ts';
import { startTls } from './verb/starttls.ts';
import { expn, help, noop, quit, rset, vrfy } from './verb/simple.ts';

/** `as` overrules the class's own severity. */
export type Refusal = { readonly class: Class } & Omit<How, 'close'>;

export type SessionEvent =
  /** the connection is admitted, or the banner is a refusal */
  | { readonly kind: 'open'; readonly refuse?: Refusal; readonly banner?: Reply }
  | { readonly kind: 'line'; readonly line: string }
  | { readonly kind: 'line-fault'; readonly fault: 'line-end' | 'line-length' }
  /** the answer to one recipient that was asked about */
  | { readonly kind: 'recipient'; readonly slot: Slot; readonly reply: Reply }
  /** the far side's answer to a command that was passed on; `offer` with one to EHLO */
  | { readonly kind: 'answer'; readonly slot: Slot; readonly reply: Reply; readonly offer?: Offer }
  /** the answer to a whole message */
  | { readonly kind: 'outcome'; readonly reply: Reply }
  /** the TLS handshake is done */
  | { readonly kind: 'secured' }
  /** end it: a deadline, a shutdown, the far side's last word */
  | { readonly kind: 'stop'; readonly class: Class; readonly reply?: Reply }
  /** the host is gone */
  | { readonly kind: 'gone' };

export type SessionCommand =
  | { readonly kind: 'reply'; readonly reply: Reply }
  /** a MAIL was accepted: a transaction begins */
  | { readonly kind: 'begin'; readonly transaction: Transaction }
  | {
      readonly kind: 'recipient';
      readonly slot: Slot;
      readonly transaction: Transaction;
      readonly recipient: Recipient;
    }
  /** to be answered by the far side */
  | { readonly kind: 'pass-on'; readonly slot: Slot; readonly command: PassedOn }
  /** the 354 is out: read a body, then answer with `outcome` */
  | { readonly kind: 'body'; readonly transaction: Transaction }
  /** the 220 is out: hand the socket to TLS, then tell `secured`; a handshake that fails is `gone` */
  | { readonly kind: 'secure' }
  /** the transaction is over; `reply` is the message's, or undefined when there was none */
  | { readonly kind: 'end'; readonly transaction: Transaction; readonly reply: Reply | undefined; readonly why: Class }
  /** `byQuit`: the host has said that nothing more comes */
  | { readonly kind: 'close'; readonly byQuit: boolean };

/** A reply's place in the order of the commands. */
export type Slot = {
  reply: Reply | undefined;
  readonly recipientIndex: number;
  /** what the far side was asked in this place */
  readonly passedOn?: PassedOn;
};

/** A pipelined group larger than this waits: the bound of what one session may have asked, or said behind it, at once. */
const MAX_SLOTS = 200;

type Handler = (dialog: Dialog, argument: string) => void;

const refuse =
  (of: Class, close = false): Handler =>
  (dialog) =>
    dialog.refuse(of, close);

const GO_AHEAD = reply(354, 'End data with <CR><LF>.<CR><LF>');

const NOT_OFFERED = refuse('protocol.not-offered');

/** Every verb, what it does. Sequence is each verb's own first check. */
const VERB_TABLE: Readonly<Record<Verb, Handler>> = {
  EHLO: (dialog, argument) => hello(dialog, argument, true),
  HELO: (dialog, argument) => hello(dialog, argument, false),
  MAIL: mail,
  RCPT: rcpt,
  DATA: data,
  RSET: rset,
  NOOP: noop,
  QUIT: quit,
  VRFY: vrfy,
  EXPN: expn,
  HELP: help,
  BDAT: refuse('protocol.bdat', true),
  AUTH: refuse('protocol.auth'),
  STARTTLS: startTls,
  ETRN: NOT_OFFERED,
  TURN: NOT_OFFERED,
  ATRN: NOT_OFFERED,
  SEND: NOT_OFFERED,
  SOML: NOT_OFFERED,
  SAML: NOT_OFFERED,
};

/** Commands that change nothing: a server that answers for itself is simply asked. */
const QUESTIONS = ['NOOP', 'VRFY', 'EXPN', 'HELP'] as const;

function isQuestion(verb: Verb): verb is (typeof QUESTIONS)[number] {
  return (QUESTIONS as readonly Verb[]).includes(verb);
}

export class Session implements Dialog {
  readonly options: SessionOptions;
  #commands: SessionCommand[] = [];
  #slots: Slot[] = [];
  #outstanding = 0;
  #heldLine: string | undefined;
  #errors = 0;
  /** the last reply is said, or waits behind the answers that are due before it: nothing more is read */
  #isEnding = false;
  #state: 'new' | 'ready' | 'body' | 'handshake' | 'closed' = 'new';
  /** after a refused DATA the next line may be a body that the host sends all the same */
  #bodyMayFollow = false;
  /** the far side refused MAIL: the transaction ends when the answers that are due are in */
  #refusedMail: Reply | undefined;

  helo: string | undefined;
  esmtp = false;
  isEncrypted = false;
  /** what the last EHLO offered: the parameters that may be used */
  offered: Capabilities = noCapabilities;
  transaction: Transaction | undefined;
  messages = 0;
  /** the last refusal that belongs to no transaction, for the record */
  lastRefusal: Class | undefined;

  constructor(options: SessionOptions) {
    this.options = options;
  }

  /** What the driver may hand in next: a line, the body's outcome, or nothing until an answer is in. */
  get wants(): 'line' | 'outcome' | 'answer' | 'nothing' {
    if (this.#state === 'body') return 'outcome';
    if (this.#state !== 'ready') return 'nothing';
    const mustWait = this.#heldLine !== undefined || this.#isEnding || this.#slots.length >= MAX_SLOTS;
    return mustWait ? 'answer' : 'line';
  }

  /** Answers are due to the host: it is not its turn, even when it may go on speaking. */
  get isAsking(): boolean {
    return this.#outstanding > 0;
  }

  step(event: SessionEvent): readonly SessionCommand[] {
    this.#commands = [];
    if (this.#state !== 'closed') this.#take(event);
    return this.#commands;
  }

  #take(event: SessionEvent): void {
    switch (event.kind) {
      case 'open':
        return this.#open(event.refuse, event.banner);
      case 'line':
        return this.#line(event.line);
      case 'line-fault':
        return this.refuse(event.fault === 'line-end' ? 'protocol.line-end' : 'protocol.line-length', true);
      case 'recipient':
        return this.#answered(event.slot, event.reply);
      case 'answer':
        return this.#farAnswered(event.slot, event.reply, event.offer);
      case 'outcome':
        return this.#outcome(event.reply);
      case 'secured':
        return this.#secured();
      case 'stop':
        return this.#stop(event.class, event.reply);
      case 'gone':
        return this.#close('session.gone');
    }
  }

  #open(refuseWith: Refusal | undefined, banner: Reply | undefined): void {
    this.#state = 'ready';
    if (refuseWith) this.refuse(refuseWith.class, true, refuseWith);
    else if (banner) this.#sayBanner(banner);
    else this.say(reply(220, `${this.options.gatewayName} ESMTP Postern`));
  }

  #sayBanner(banner: Reply): void {
    this.lastRefusal = banner.class;
    this.say(banner);
  }

  #line(line: string): void {
    if (isOtherProtocol(line)) return this.refuse('protocol.other', true);
    const command = parseCommand(line);
    // Only recipients may be asked side by side; everything else waits for their answers.
    if (this.#outstanding > 0 && command.verb !== 'RCPT') {
      this.#heldLine = line;
      return;
    }
    this.#run(command);
  }

  #run({ verb, argument }: Command): void {
    const bodyMayFollow = this.#bodyMayFollow;
    this.#bodyMayFollow = false;
    if (verb === undefined) this.refuse('protocol.syntax', bodyMayFollow);
    else if (this.options.isFarAnswering && isQuestion(verb)) this.passOn({ verb, argument });
    else VERB_TABLE[verb](this, argument);
  }

  /** Says something in the order of the commands. */
  say(what: Reply): void {
    this.#slots.push({ reply: what, recipientIndex: -1 });
    if (what.close) this.#isEnding = true;
    this.#flush();
  }

  refuse(of: Class, close = false, how: Omit<How, 'close'> = {}): void {
    const id = this.transaction?.id ?? this.options.id;
    if (!this.transaction) this.lastRefusal = of;
    const said = refusal(of, id, this.options.helpUrl, { ...how, close });
    this.say(said);
    this.#countError(said, id);
  }

  /** A 4xx is no error of the host: one recipient too many, for example, is what it could not know. */
  #countError({ code }: Reply, id: string): void {
    if (code < 500 || this.#isEnding) return;
    this.#errors++;
    if (this.#errors < this.options.maxErrors) return;
    if (!this.transaction) this.lastRefusal = 'protocol.errors';
    this.say(refusal('protocol.errors', id, this.options.helpUrl));
  }

  begin(transaction: Transaction): void {
    this.transaction = transaction;
    this.#commands.push({ kind: 'begin', transaction });
  }

  /** Asks about a recipient; its place in the order of replies is kept. */
  ask(transaction: Transaction, recipient: Recipient): void {
    const slot: Slot = { reply: undefined, recipientIndex: transaction.recipients.length };
    transaction.recipients.push({ recipient, code: undefined });
    this.#slots.push(slot);
    this.#outstanding++;
    this.#commands.push({ kind: 'recipient', slot, transaction, recipient });
  }

  /** Has the far side answer it; its place in the order of replies is kept. */
  passOn(command: PassedOn): void {
    const slot: Slot = { reply: undefined, recipientIndex: -1, passedOn: command };
    if (command.verb === 'QUIT') this.#isEnding = true;
    this.#slots.push(slot);
    this.#outstanding++;
    this.#commands.push({ kind: 'pass-on', slot, command });
  }

  #farAnswered(slot: Slot, answer: Reply, offer: Offer | undefined): void {
    const { verb, argument } = slot.passedOn as PassedOn;
    const isGood = answer.code < 400;
    // Refused, it leaves the server in the state in which it was (RFC 5321 section 4.1.4).
    if (isGood && (verb === 'EHLO' || verb === 'HELO')) {
      this.endTransaction('session.no-message');
      this.helo = argument;
      this.esmtp = verb === 'EHLO';
      this.offered = offer?.capabilities ?? noCapabilities;
    }
    if (!isGood && verb === 'MAIL') this.#refusedMail = answer;
    // Inside TLS it is not offered again.
    const lines = this.isEncrypted ? offer?.lines.filter((line) => !isStartTls(line)) : offer?.lines;
    if (lines) this.#answered(slot, replyOnce(answer.code, lines));
    else this.#answered(slot, verb === 'QUIT' ? { ...answer, close: true } : answer);
  }

  #answered(slot: Slot, answer: Reply): void {
    slot.reply = answer;
    this.#outstanding--;
    const asked = this.transaction?.recipients[slot.recipientIndex];
    if (asked) asked.code = answer.code;
    this.#flush();
    if (this.#refusedMail && this.#outstanding === 0) {
      const refused = this.#refusedMail;
      this.#refusedMail = undefined;
      this.endTransaction(refused.class ?? 'upstream.reply', refused);
    }
    if (this.#outstanding > 0 || this.#heldLine === undefined || this.#isClosed()) return;
    const line = this.#heldLine;
    this.#heldLine = undefined;
    this.#run(parseCommand(line));
  }

  /** The 354 is said; what follows is a body. */
  readBody(transaction: Transaction): void {
    this.say(GO_AHEAD);
    this.#state = 'body';
    this.#commands.push({ kind: 'body', transaction });
  }

  /** A DATA was refused: a host that does not look at replies sends the body all the same, and must not be obeyed. */
  expectStrayBody(): void {
    this.#bodyMayFollow = true;
  }

  #outcome(answer: Reply): void {
    this.messages++;
    this.#state = 'ready';
    this.endTransaction(answer.class ?? 'accepted.clean', answer);
    this.say(answer);
    if (answer.class !== 'upstream.reply') this.#countError(answer, this.options.id);
  }

  secure(): void {
    this.#state = 'handshake';
    this.#commands.push({ kind: 'secure' });
  }

  /** RFC 3207 section 4.2: what was learnt in clear is forgotten. Refusals go on counting. */
  #secured(): void {
    this.#state = 'ready';
    this.isEncrypted = true;
    this.helo = undefined;
    this.esmtp = false;
    this.offered = noCapabilities;
    this.lastRefusal = undefined;
    this.#bodyMayFollow = false;
  }

  /** RSET, EHLO, QUIT, the end of DATA: the object is let go whole. */
  endTransaction(why: Class, answer?: Reply): void {
    const transaction = this.transaction;
    if (!transaction) return;
    this.transaction = undefined;
    this.#commands.push({ kind: 'end', transaction, reply: answer, why });
  }

  #stop(why: Class, last?: Reply): void {
    if (!this.transaction) this.lastRefusal = why;
    // In the middle of a handshake nothing can be said.
    if (this.#state === 'handshake') return this.#close(why);
    const id = this.transaction?.id ?? this.options.id;
    const said = last ?? refusal(why, id, this.options.helpUrl, { close: true });
    // What was asked and not answered stays unanswered: the 421 speaks for it (RFC 5321 section 3.8).
    for (const slot of this.#slots) if (slot.reply === undefined) slot.reply = said;
    if (this.#slots.length === 0) this.say(said);
    else this.#flush();
    this.#close(why);
  }

  #flush(): void {
    while (this.#slots[0]?.reply && !this.#isClosed()) {
      const { reply: ready } = this.#slots.shift() as Slot & { reply: Reply };
      this.#commands.push({ kind: 'reply', reply: ready });
      if (ready.close) this.#close(ready.class ?? 'session.no-message', ready.class === undefined);
    }
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #close(why: Class, byQuit = false): void {
    if (this.#isClosed()) return;
    this.#state = 'closed';
    this.#slots = [];
    this.endTransaction(why);
    this.#commands.push({ kind: 'close', byQuit });
  }
}
