/** Block lists that receivers name in their refusals: each tells of itself once an hour for a prefix, and the last are kept. */
import { prefixOf } from '../kit/address.ts';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import { listNamedIn } from '../policy/receivers.ts';
import type { Attempt } from '../record/events.ts';
import type { Listing } from '../record/query.ts';

const AGAIN_MS = 3_600_000;
const MAX_KNOWN = 1_000;
const MAX_REPLY = 300;
const SHORT = { 4: 24, 6: 48 } as const;

export class Listings {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #tell: (listing: Listing) => void;
  /** by prefix, list and tenant, the one that was told of last at the end */
  readonly #known = new Map<string, Listing>();

  constructor(clock: Clock, log: Log, tell: (listing: Listing) => void) {
    this.#clock = clock;
    this.#log = log;
    this.#tell = tell;
  }

  /** `kept` is what the network's `log` leaves of the reply. */
  seen({ id, source, upstream, upstreamReply, tenant }: Attempt, kept = ''): void {
    const list = upstreamReply === undefined ? undefined : listNamedIn(upstreamReply);
    if (list === undefined) return;
    const prefix = shortOf(source);
    const key = `${prefix} ${list} ${tenant ?? ''}`;
    const nowMs = this.#clock.nowMs();
    const before = this.#known.get(key);
    const isTold = before !== undefined && nowMs - before.since < AGAIN_MS;
    const listing: Listing = {
      prefix,
      list,
      upstream: upstream ?? '',
      reply: kept.slice(0, MAX_REPLY),
      tenant,
      id,
      since: isTold ? before.since : nowMs,
      last: nowMs,
      count: (before?.count ?? 0) + 1,
    };
    this.#known.delete(key);
    const [oldest] = this.#known.keys();
    if (this.#known.size >= MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(key, listing);
    if (isTold) return;
    this.#log.write('warn', 'listing.named', { prefix, list, upstream, reply: listing.reply, id });
    this.#tell(listing);
  }

  /** Newest first. */
  list(): readonly Listing[] {
    return [...this.#known.values()].reverse();
  }
}

function shortOf(source: string): string {
  const prefix = prefixOf(source, SHORT[6]);
  if (prefix?.family !== 4) return prefix?.text ?? source;
  return source.replace(/\.\d+$/, `.0/${SHORT[4]}`);
}
