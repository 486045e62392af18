/**
 * The far side of a session whose server answers for itself (egress `preserve`): called at once, asked what the core
 * passes on, and heard when it ends. What it says goes to the host as it came.
 */
import type { Class } from '../policy/classes.ts';
import type { AnsweredTransaction, FarHello, FarReply, FarSession } from '../relay/relay.ts';
import type { Offer } from '../smtp/capabilities.ts';
import type { Reply } from '../smtp/reply.ts';
import type { Slot } from '../smtp/session.ts';
import type { Transaction } from '../smtp/transaction.ts';
import type { PassedOn } from '../smtp/verb/dialog.ts';

export type FarEvents = {
  readonly answered: (slot: Slot, reply: Reply, offer?: Offer) => void;
  /** It is gone: nothing more can be asked. `reply` is its own last word, where it had one. */
  readonly lost: (why: Class, reply: Reply | undefined) => void;
};

export class FarSide {
  readonly #session: FarSession;
  readonly #on: FarEvents;
  #envelope: AnsweredTransaction | undefined;
  /** what was heard last of banner and answers, or why there is no more, for the record */
  last: FarReply | undefined;

  constructor(session: FarSession, on: FarEvents) {
    this.#session = session;
    this.#on = on;
    session.whenLost((last) => this.#lost(last));
  }

  /** The server's banner, or why there is none. */
  async call(): Promise<Reply | Class> {
    this.last = await this.#session.open();
    if (this.last.kind === 'failure') return this.last.class;
    const banner = replyOf(this.last);
    return banner.code < 400 ? banner : { ...banner, close: true };
  }

  begin(transaction: Transaction): AnsweredTransaction {
    this.#envelope = this.#session.begin(transaction.from, transaction.id);
    return this.#envelope;
  }

  async passOn(slot: Slot, command: PassedOn): Promise<void> {
    const { reply, offer } = await this.#ask(command);
    this.last = reply;
    if (reply.kind === 'reply') return this.#on.answered(slot, replyOf(reply), offer);
    // The host is done, and a server that left without a word has nothing to say to that.
    if (command.verb === 'QUIT') this.#on.answered(slot, CLOSING);
    else this.#lost(reply);
  }

  async #ask({ verb, argument }: PassedOn): Promise<FarHello> {
    if (verb === 'EHLO' || verb === 'HELO') return await this.#session.hello(verb, argument);
    if (verb === 'MAIL') return { reply: await (this.#envelope as AnsweredTransaction).mail() };
    return { reply: await this.#session.say(argument === '' ? verb : `${verb} ${argument}`) };
  }

  #lost(last: FarReply): void {
    this.last = last;
    if (last.kind === 'reply') this.#on.lost('upstream.reply', replyOf(last));
    else this.#on.lost(last.class, undefined);
  }

  /** Reads nothing of it while it is held. */
  hold(isHeld: boolean): void {
    this.#session.hold(isHeld);
  }

  /** Resolves when its descriptor is free. */
  close(): Promise<void> {
    return this.#session.close();
  }
}

const CLOSING: Reply = { code: 221, bytes: Buffer.from('221 2.0.0 Closing\r\n', 'latin1') };

/** As it came. After 421, and after a banner that is a refusal, the connection ends (RFC 5321 sections 3.1 and 3.8). */
function replyOf({ code, bytes }: FarReply & { kind: 'reply' }): Reply {
  return {
    code,
    bytes,
    ...(code >= 400 && { class: 'upstream.reply' as const }),
    ...(code === 421 && { close: true }),
  };
}
