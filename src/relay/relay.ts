/**
 * What the gateway asks of the far side, whatever the egress: one transaction at a time, replies as they came.
 *
 * A relay never queues and never retries after the final dot. It fails with a class, never with an exception.
 */
import type { Capabilities, Offer } from '../smtp/capabilities.ts';
import type { Class } from '../policy/classes.ts';
import type { Extension, MailFrom, Recipient } from '../smtp/transaction.ts';
import type { Peer } from './peer.ts';
import type { SpooledBody } from '../wire/spool.ts';

/** A reply of the far side, or the reason why there is none. */
export type FarReply =
  | {
      readonly kind: 'reply';
      readonly code: number;
      /** the whole reply as it came, CRLF-ended lines, printable and at most 512 octets each: safe to pass on */
      readonly bytes: Buffer;
      readonly server: string;
      /** of its connection, `TLSv1.3`; undefined in clear */
      readonly tlsVersion?: string | undefined;
    }
  | {
      readonly kind: 'failure';
      readonly class: Class;
      /** may quote what the far side said, and so an address: for the record, never for the log */
      readonly detail: string;
      readonly server?: string;
      readonly tlsVersion?: string | undefined;
      /** the far side's code where its reply was the failure, and what was waited for */
      readonly code?: number;
      readonly step?: string;
    };

export type { Extension, MailFrom, Recipient };

/** What is asked of the far side for one mail transaction. */
export interface RelayTransaction {
  /** where one connection is the only choice: whether it has TLS */
  readonly isEncrypted?: boolean;
  /** and what its server has shown; undefined in clear */
  readonly peer?: Peer | undefined;
  /**
   * Ask the far side about one recipient. Calls need not wait for one another: they are sent in order and answered in
   * order. MAIL goes out with the first; when MAIL itself is refused, its reply is the answer to every recipient.
   */
  recipient(recipient: Recipient): Promise<FarReply>;
  /** The body begins: from here the relay may give the connection back after `hold` and repeat the envelope in `send`. */
  bodyBegins(): void;
  /**
   * Send the message: `trace` on top, then the body as it is spooled. Resolves with the far side's final reply.
   * Accepted recipients are exactly those whose answer was 2xx; if that cannot be had again: `upstream.changed`.
   */
  send(trace: Buffer, body: SpooledBody): Promise<FarReply>;
  /** Give it up: RSET, or close when the far side is mid-body. Safe at any time, also after `send` has resolved. */
  abandon(): void;
}

/** The far side's reply to EHLO or HELO; where it is one to EHLO, what of its offer is carried. */
export type FarHello = { readonly reply: FarReply; readonly offer?: Offer };

/** Where the server answers MAIL too, when it comes. */
export interface AnsweredTransaction extends RelayTransaction {
  mail(): Promise<FarReply>;
}

/** The one connection that a session with egress "preserve" has: the server answers the host's commands itself. */
export interface FarSession {
  /** Connects; resolves with the banner. */
  open(): Promise<FarReply>;
  hello(verb: 'EHLO' | 'HELO', name: string): Promise<FarHello>;
  /** RSET, NOOP, VRFY, EXPN, HELP, QUIT: the whole line. */
  say(line: string): Promise<FarReply>;
  begin(from: MailFrom, transactionId: string): AnsweredTransaction;
  /** Reads nothing of the server's while it is held. */
  hold(isHeld: boolean): void;
  /** Calls back once when the connection ends by itself: with the server's 421, or why. */
  whenLost(run: (last: FarReply) => void): void;
  /** The host has gone, or its session is over; resolves when the connection is closed, within a second. */
  close(): Promise<void>;
}

export type ServerState = {
  readonly server: string;
  readonly up: boolean;
  readonly since: number;
  readonly connections: number;
  readonly reason?: string;
};

/** How often something happened since the worker started. */
export type Counters = {
  /** connections that broke, or answered wrongly, while a transaction used them */
  faults: number;
  /** envelopes repeated on another connection */
  repeated: number;
  /** repeated envelopes that were answered otherwise */
  changed: number;
  /** messages whose connection broke between the final dot and its reply: they may have arrived all the same */
  possibleDuplicates: number;
};

export interface Relay {
  /** First contact with every server; resolves when one has answered or all have failed. Never rejects. */
  start(): Promise<void>;
  /** What every live server was last seen to offer and we can carry; undefined while none was ever reached. */
  offers(): Capabilities | undefined;
  /** Whether any configured server ever offered this: decides between 451 and the RFC's 5xx. */
  everOffered(extension: Extension): boolean;
  /** `source` is whose it is (`sourceOf`): where transactions have to wait, the sources take turns. */
  begin(from: MailFrom, transactionId: string, source?: string): RelayTransaction;
  servers(): readonly ServerState[];
  /** Totals of the process: a relay goes on counting where the one before it is, they never fall. */
  counters(): Readonly<Counters>;
  /** Ends idle connections at once and the others as they come back. */
  close(): Promise<void>;
}
