/** What every connection of a worker shares. A reload replaces `config`, `senders`, `filters`, `tlsRules`, `verifier` and `relay`; sessions take them as they begin. */
import type { Config } from '../config/schema.ts';
import type { FilterSet } from '../filter/all.ts';
import type { FilterDeps } from '../filter/filter.ts';
import type { Senders } from '../identity/senders.ts';
import type { Arrival } from '../intercept/arrival.ts';
import type { Descriptors } from '../intercept/descriptors.ts';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import type { End } from '../kit/sockaddr.ts';
import type { ByteSocket } from '../kit/tcp.ts';
import type { Threads } from '../kit/threads.ts';
import type { Ledger } from '../ledger/client.ts';
import type { TlsRules } from '../policy/require.ts';
import type { TlsCause, TlsPolicy, TlsResult } from '../policy/tls.ts';
import type { FarSession, Relay } from '../relay/relay.ts';
import type { Hourly } from '../record/hourly.ts';
import type { Verifier } from '../relay/verifier.ts';
import type { HostTls } from '../tls/host-tls.ts';
import type { SpoolBudget } from '../wire/spool.ts';

export type Rooms = {
  readonly worker: number;
  config: Config;
  senders: Senders;
  relay: Relay;
  readonly tls: HostTls;
  tlsRules: TlsRules;
  /** undefined where no resolver is configured */
  verifier: Verifier | undefined;
  /** a connection from the host's own address to the server it called */
  readonly farSession: (arrival: Arrival, config: Config) => FarSession;
  /** a bare connection to it, from `source` or from this machine */
  readonly farCall: (source: string | undefined, to: End, signal: AbortSignal) => Promise<ByteSocket>;
  readonly ledger: Ledger;
  readonly budget: SpoolBudget;
  /** a tmpfs where bodies too large for memory wait, in files without a name */
  readonly spoolDir: string;
  readonly descriptors: Descriptors;
  filters: FilterSet;
  readonly threads: Threads;
  /** the filters' questions to the keeper */
  readonly inquire: FilterDeps['inquire'];
  readonly log: Log;
  readonly clock: Clock;
  readonly counts: Counts;
  /** messages of each subscriber that were quoted for reports */
  readonly quoted: Hourly;
  /** replies that wait because their subscriber is to be slow */
  heldBack: number;
  /** no new sessions: this worker is about to end */
  draining: boolean;
};

/** Sessions by network since the last report, and now. */
export class Counts {
  open = 0;
  /** connections to the servers that hosts have called */
  preserved = 0;
  /** connections that are carried unread */
  opaque = 0;
  #opened = new Map<string, number>();
  #handshakes = new Map<string, number>();
  #verified = new Map<string, number>();

  opened(network: string): void {
    this.open++;
    this.#opened.set(network, (this.#opened.get(network) ?? 0) + 1);
  }

  handshake(how: TlsCause | 'done' | 'resumed' | 'unused'): void {
    this.#handshakes.set(how, (this.#handshakes.get(how) ?? 0) + 1);
  }

  verified(policy: TlsPolicy, result: TlsResult): void {
    const key = `${policy} ${result}`;
    this.#verified.set(key, (this.#verified.get(key) ?? 0) + 1);
  }

  /** by `POLICY RESULT` */
  takeVerified(): Record<string, number> {
    const taken = Object.fromEntries(this.#verified);
    this.#verified = new Map();
    return taken;
  }

  takeHandshakes(): Record<string, number> {
    const taken = Object.fromEntries(this.#handshakes);
    this.#handshakes = new Map();
    return taken;
  }

  takeOpened(): Record<string, number> {
    const taken = Object.fromEntries(this.#opened);
    this.#opened = new Map();
    return taken;
  }
}
