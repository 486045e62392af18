/** No relay at all: hosts send to the sink through the forwarding gateway. The ceiling of generator and sink. */
import { SMARTHOST } from '../stage.ts';
import type { PeerKind } from './peer.ts';

export const direct: PeerKind = {
  name: 'direct',
  about: 'no relay: the ceiling of generator and sink',
  start: () => Promise.resolve({ version: '', target: SMARTHOST, close: () => Promise.resolve() }),
};
