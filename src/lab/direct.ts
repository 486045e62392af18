/** Servers on port 25 that count who reaches them: the one no host may reach directly, and those inside. */
import type { Namespace } from './namespace.ts';
import { type Ends, PLACES } from './network.ts';
import { type Reporter, startReporter } from './reporter.ts';

/** A connection that came, or a message that was taken over one. */
export type Reached = {
  readonly kind: 'connection' | 'message';
  readonly from: string;
  readonly to: string;
  readonly port: number;
  /** of a message */
  readonly subject?: string;
  /** its first line */
  readonly top?: string;
};

/**
 * The server on the internet whose port 25 a host must never reach directly, IPv4 and IPv6. Its port 587 is the
 * control: never touched by the gateway, so a host reaches it.
 */
export function startDirect(internet: Namespace): Promise<Reporter<Reached>> {
  return startListener(internet, 'mx.example.org', [PLACES.direct], [25, 587]);
}

/** Mail servers of hosts inside, which mail from outside reaches untouched. */
export function startInsideServer(inside: Namespace, hosts: readonly Ends[]): Promise<Reporter<Reached>> {
  return startListener(inside, 'mail.customer.example', hosts, [25]);
}

function startListener(
  where: Namespace,
  name: string,
  places: readonly Ends[],
  ports: readonly number[],
): Promise<Reporter<Reached>> {
  const listen = places.flatMap((ends) => ports.flatMap((port) => [`${ends.v4}:${port}`, `[${ends.v6}]:${port}`]));
  return startReporter(where, 'direct-main.ts', ['--name', name, ...listen.flatMap((each) => ['--listen', each])]);
}
