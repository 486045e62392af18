/**
 * A far side without a network, for tests of the gateway: answers by what the address says, and keeps what it is sent.
 *
 *     <550@…>   a recipient that gets 550, likewise any code     <later@…>   one that waits until `answerLater` is called
 *     MAIL from <mail550@…>   every recipient gets 550            <fail@…>    no reply: upstream.lost
 */
import type { Capabilities } from '../../src/smtp/capabilities.ts';
import type { Counters, FarReply, MailFrom, Recipient, Relay, RelayTransaction } from '../../src/relay/relay.ts';

export const EVERYTHING: Capabilities = {
  size: 0,
  eightBitMime: true,
  smtpUtf8: true,
  dsn: true,
  enhancedStatusCodes: true,
  pipelining: true,
  startTls: false,
  chunking: false,
};

export type Sent = {
  readonly from: string;
  readonly recipients: readonly string[];
  readonly trace: string;
  /** as on the wire: dot-stuffed, without the lone dot */
  readonly body: Buffer;
};

export class FakeRelay implements Relay {
  readonly messages: Sent[] = [];
  /** transactions begun and not over */
  open = 0;
  capabilities: Capabilities | undefined = EVERYTHING;
  /** what a whole message is answered with */
  onMessage: (sent: Sent) => FarReply | Promise<FarReply> = () => far(250, '2.0.0 taken');
  /** how many turns of the loop the next recipient waits for its answer, whatever becomes of those before it */
  turns: () => number = () => 0;
  readonly #later: (() => void)[] = [];

  start = (): Promise<void> => Promise.resolve();
  offers = (): Capabilities | undefined => this.capabilities;
  everOffered = (): boolean => true;
  servers = (): [] => [];
  totals: Counters = { faults: 0, repeated: 0, changed: 0, possibleDuplicates: 0 };
  counters = (): Counters => this.totals;
  close = (): Promise<void> => Promise.resolve();

  /** How many recipients wait. */
  get waiting(): number {
    return this.#later.length;
  }

  /** Answers the recipients that wait, the last one first. */
  answerLater(): void {
    for (const answer of this.#later.splice(0).reverse()) answer();
  }

  begin(from: MailFrom): RelayTransaction {
    const accepted: (string | undefined)[] = [];
    let isOver = false;
    this.open++;
    const end = (): void => {
      if (!isOver) this.open--;
      isOver = true;
    };
    return {
      recipient: async ({ path, parameters }: Recipient) => {
        const place = accepted.push(undefined) - 1;
        const local = path.slice(1, path.indexOf('@'));
        for (let turns = this.turns(); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
        if (local === 'later') await new Promise<void>((resolve) => this.#later.push(resolve));
        if (local === 'fail') return { kind: 'failure', class: 'upstream.lost', detail: 'as asked for' };
        const refused = /^<mail(\d{3})@/.exec(from.path)?.[1] ?? /^(\d{3})$/.exec(local)?.[1];
        if (refused !== undefined) return far(Number(refused), '0.0.0 as asked for');
        accepted[place] = path + parameters;
        return far(250, '2.1.5 fine');
      },
      bodyBegins() {},
      send: async (trace, body) => {
        const sent = {
          from: from.path + from.parameters,
          recipients: accepted.filter((one) => one !== undefined),
          trace: trace.toString('latin1'),
          body: Buffer.concat([...body.read()]),
        };
        const reply = await this.onMessage(sent);
        if (reply.kind === 'reply' && reply.code < 300) this.messages.push(sent);
        end();
        return reply;
      },
      abandon: end,
    };
  }
}

/** A reply of the far server `fake`. */
export function far(code: number, text: string): FarReply {
  return { kind: 'reply', code, bytes: Buffer.from(`${code} ${text}\r\n`), server: 'fake' };
}
