/**
 * Arrival: an accepted connection with its two true ends.
 *
 * The kernel hands over an intercepted connection with the address the host called as the socket's local end (TPROXY),
 * so both ends are simply the socket's own. Nothing a host says can change them.
 */
import type { Socket } from 'node:net';
import { canonical } from '../kit/address.ts';

export type Arrival = {
  readonly source: string;
  readonly sourcePort: number;
  /** the server that the host called */
  readonly destination: string;
  readonly destinationPort: number;
};

/** Undefined when the connection is already gone again: then it has no ends any more. */
export function arrivalOf(socket: Socket): Arrival | undefined {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  const source = remoteAddress === undefined ? undefined : canonical(remoteAddress);
  const destination = localAddress === undefined ? undefined : canonical(localAddress);
  if (source === undefined || destination === undefined || remotePort === undefined || localPort === undefined) {
    return undefined;
  }
  return { source, sourcePort: remotePort, destination, destinationPort: localPort };
}
