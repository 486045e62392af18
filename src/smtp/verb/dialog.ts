/** What a verb sees of the session, and what it may do: the narrow side of `session.ts`. */
import type { Class } from '../../policy/classes.ts';
import type { Capabilities } from '../capabilities.ts';
import type { Reply } from '../reply.ts';
import type { Extension, Recipient, Transaction } from '../transaction.ts';

export type SessionOptions = {
  /** the session's id: in every refusal that belongs to no transaction */
  readonly id: string;
  readonly gatewayName: string;
  readonly helpUrl: string;
  readonly maxRecipients: number;
  readonly maxErrors: number;
  /** messages of one session; 0 is without end */
  readonly maxMessages: number;
  readonly maxSizeBytes: number;
  /** the far side answers for itself (egress `preserve`): what it can be asked is passed on, nothing is answered for it */
  readonly isFarAnswering?: boolean;
  /** what may be offered now; asked at each EHLO */
  readonly offers: () => Capabilities;
  /** whether any server behind us has ever offered it: what decides between 4xx and 5xx */
  readonly everOffered: (extension: Extension) => boolean;
  /** octets of the host wait behind the command that is being run */
  readonly isFollowed: () => boolean;
  /** a fresh id for a transaction */
  readonly newId: () => string;
};

/** A command that the far side answers: MAIL is the transaction's, the others go as their line. */
export type PassedOn = {
  readonly verb: 'EHLO' | 'HELO' | 'MAIL' | 'RSET' | 'NOOP' | 'VRFY' | 'EXPN' | 'HELP' | 'QUIT';
  readonly argument: string;
};

export interface Dialog {
  readonly options: SessionOptions;
  helo: string | undefined;
  esmtp: boolean;
  /** what the last EHLO offered: the parameters that may be used */
  offered: Capabilities;
  /** this leg has TLS */
  readonly isEncrypted: boolean;
  readonly transaction: Transaction | undefined;
  /** whole messages that were answered */
  readonly messages: number;
  /** Says something in the order of the commands. */
  say(reply: Reply): void;
  /** Says no, with class and id; enough of them end the session. */
  refuse(of: Class, close?: boolean): void;
  begin(transaction: Transaction): void;
  /** Asks the far side about a recipient; its place in the order of replies is kept. */
  ask(transaction: Transaction, recipient: Recipient): void;
  /** Has the far side answer a command; its place in the order of replies is kept. */
  passOn(command: PassedOn): void;
  /** Says 354; what follows is a body. */
  readBody(transaction: Transaction): void;
  /** A DATA was refused: a host that does not look at replies sends the body all the same, and must not be obeyed. */
  expectStrayBody(): void;
  /** The 220 is said; what follows is a TLS handshake. */
  secure(): void;
  /** RSET, EHLO, QUIT, the end of DATA: the object is let go whole. */
  endTransaction(why: Class): void;
}
