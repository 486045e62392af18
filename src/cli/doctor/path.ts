/**
 * Whether both directions of a connection from a host's own address cross this machine: the one thing that egress
 * `preserve` cannot do without. Tried as a worker would do it: a connection from an inside address to a real server.
 */
import type { Config } from '../../config/schema.ts';
import { canonicalOf, parseAddress, type Prefix } from '../../kit/address.ts';
import { asFileUser } from '../../kit/native-socket.ts';
import { OWN_MARK_BITS } from '../../kit/own-mark.ts';
import { connectFrom, connectTo } from '../../kit/tcp-open.ts';
import type { TcpSocket } from '../../kit/tcp.ts';
import { userOf } from '../../kit/users.ts';
import type { Finding } from './finding.ts';

const TRY_MS = 3000;

/** For each prefix of a network that keeps its addresses and each server of the same family: one connection. */
export async function checkPaths({ network, subscriber }: Config, servers: readonly string[]): Promise<Finding[]> {
  const prefixes = [...network, ...subscriber]
    .filter(({ egress }) => egress === 'preserve')
    .flatMap((each) => each.prefixes);
  const tried = prefixes.flatMap((prefix) =>
    servers
      .filter((server) => parseAddress(server)?.family === prefix.family)
      .map((server) => [prefix, server] as const),
  );
  if (tried.length === 0) {
    return [
      {
        check: 'path',
        state: 'unknown',
        text: 'no connection was tried from an address of a network with egress = "preserve"',
        mend: 'postern doctor --to ADDRESS, a mail server outside that answers on port 25, once for each family',
      },
    ];
  }
  return Promise.all(tried.map(([prefix, server]) => checkPath(prefix, server)));
}

async function checkPath(prefix: Prefix, server: string): Promise<Finding> {
  const { family } = prefix;
  const source = lastOf(prefix);
  const own = await outcome((signal) => connectTo(family, server, 25, signal));
  if (own !== 'connected') {
    return {
      check: 'path',
      state: 'unknown',
      text: `${server} does not answer this machine itself on port 25: ${own}`,
      mend: 'postern doctor --to another mail server',
    };
  }
  const kept = await outcome((signal) => connectFrom(source, OWN_MARK_BITS, { address: server, port: 25 }, signal));
  const between = `between ${source} and ${server}`;
  if (kept === 'connected') {
    return { check: 'path', state: 'ok', text: `both directions ${between} cross this machine` };
  }
  return {
    check: 'path',
    state: 'fault',
    text: `${between} only one direction crosses this machine (${kept}): asymmetric path, unless another fault stands above`,
    mend: `let the router in front send ${prefix.text} to this machine: there, ip -${family} route get ${source}`,
  };
}

/** `connected`, or why not. Packets to port 25 leave this machine for workers alone, so it is one that asks. */
async function outcome(connect: (signal: AbortSignal) => Promise<TcpSocket>): Promise<string> {
  try {
    const socket = await asFileUser(userOf('worker').uid, () => connect(AbortSignal.timeout(TRY_MS)));
    socket.destroy();
    return 'connected';
  } catch (error) {
    const { name, message } = error as Error;
    return name === 'TimeoutError' ? `no answer within ${TRY_MS / 1000} s` : message;
  }
}

/** The last address but one: hardly ever a router's, and not the one that IPv4 has for all. */
function lastOf({ family, base, length }: Prefix): string {
  const bits = family === 4 ? 32 : 128;
  const size = 1n << BigInt(bits - length);
  const value = base + (size > 2n ? size - 2n : 0n);
  const octets = Buffer.from(value.toString(16).padStart(bits / 4, '0'), 'hex');
  return family === 4 ? octets.join('.') : canonicalOf(octets);
}
