/**
 * Arrival: an accepted connection with its two true ends.
 *
 * The kernel hands over an intercepted connection with the address the host called as the socket's local end (TPROXY),
 * so both ends are simply the socket's own. Nothing a host says can change them.
 */
import type { End } from '../kit/sockaddr.ts';

export type Arrival = {
  readonly source: string;
  readonly sourcePort: number;
  /** the server that the host called */
  readonly destination: string;
  readonly destinationPort: number;
};

/** Both ends in canonical spelling, as the kernel gave them. */
export function arrivalOf(remote: End, local: End): Arrival {
  return {
    source: remote.address,
    sourcePort: remote.port,
    destination: local.address,
    destinationPort: local.port,
  };
}
