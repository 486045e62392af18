/** What a worker tells the keeper once a second about itself: counts, never anything of a message. */
import type { SessionCounts } from '../record/events.ts';
import type { Rooms } from './rooms.ts';

export function sessionCounts(rooms: Rooms): SessionCounts {
  return {
    kind: 'sessions',
    worker: rooms.worker,
    opened: rooms.counts.takeOpened(),
    open: rooms.counts.open,
    upstream: rooms.relay.servers().map(({ server, up, connections, reason }) => ({
      server,
      up,
      connections,
      ...(reason !== undefined && { reason }),
    })),
    dropped: 0,
  };
}
