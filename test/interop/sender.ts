/** What every sender has: three calls, and what a comparison must know of it. */
import type { Namespace } from '../../src/lab/network.ts';
import type { Family, Mail } from './mail.ts';

export type Sender = {
  readonly name: string;
  /** it hands the message over as it is; the others put header fields of their own on top */
  readonly verbatim: boolean;
  /** it has no way to send a second message in a connection */
  readonly oneMessageAConnection?: true;
  /** how many of a row of messages it sends before it keeps a connection open for the next */
  readonly aloneAtFirst?: number;
  /** Set it up in a namespace where the name server of dns.ts listens. */
  readonly open: (inside: Namespace) => Promise<Opened>;
};

export type Opened = {
  /** Send to the MX of this family, over one connection if it can. Rejects with its log unless all were delivered. */
  readonly send: (mails: readonly Mail[], family: Family) => Promise<void>;
  readonly close: () => Promise<void>;
};
