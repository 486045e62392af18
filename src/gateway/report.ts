/** What a worker tells the keeper once a second about itself: counts, never anything of a message. */
import { reportFilters } from '../filter/all.ts';
import type { SessionCounts } from '../record/events.ts';
import { noCounts } from '../relay/smarthost.ts';
import type { Rooms } from './rooms.ts';

/** Each call gives what has been counted since the one before. */
export function sessionReport(rooms: Rooms): () => SessionCounts {
  let told = noCounts();
  return () => {
    const now = { ...rooms.relay.counters() };
    const relay = {
      faults: now.faults - told.faults,
      repeated: now.repeated - told.repeated,
      possibleDuplicates: now.possibleDuplicates - told.possibleDuplicates,
    };
    told = now;
    const services = reportFilters(rooms.filters);
    return {
      kind: 'sessions',
      worker: rooms.worker,
      opened: rooms.counts.takeOpened(),
      open: rooms.counts.open,
      preserved: rooms.counts.preserved,
      opaque: rooms.counts.opaque,
      upstream: rooms.relay.servers().map(({ server, up, connections, reason }) => ({
        server,
        up,
        connections,
        ...(reason !== undefined && { reason }),
      })),
      relay,
      tls: {
        verified: rooms.counts.takeVerified(),
        handshakes: rooms.counts.takeHandshakes(),
        kept: rooms.tls.kept,
        ...(rooms.tls.endsMs !== undefined && { endsAt: rooms.tls.endsMs }),
      },
      ...(services.length > 0 && { services }),
      dropped: 0,
    };
  };
}
