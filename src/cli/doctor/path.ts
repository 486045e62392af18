/**
 * Whether both directions of a connection from a host's own address cross this machine: the one thing that egress
 * `preserve` cannot do without. Tried as a worker would do it: a connection from an inside address to a real server.
 */
import type { Config } from '../../config/schema.ts';
import { canonicalOf, parseAddress, type Prefix } from '../../kit/address.ts';
import { asFileUser } from '../../kit/native-socket.ts';
import { OWN_MARK_BITS } from '../../kit/own-mark.ts';
import { connectFrom, connectTo } from '../../kit/tcp-open.ts';
import { userOf } from '../../kit/users.ts';
import type { Finding } from './finding.ts';

const TRY_MS = 3000;
/** Tries of one moment: a server is called as a busy host calls it, not as a flood does. */
const AT_ONCE = 8;
const ALL_MS = 30_000;

/** How a connection went; `refused` has crossed this machine in both directions just as `connected` has. */
export type Outcome = 'connected' | 'refused' | 'silent' | { readonly error: string };

/** Calls port 25 of `server` from `source`, or from this machine's own address when that is undefined. Never rejects. */
export type Try = (server: string, source?: string) => Promise<Outcome>;

/** For each prefix of a network that keeps its addresses and each server of the same family: one connection. */
export async function checkPaths(
  { network, subscriber }: Pick<Config, 'network' | 'subscriber'>,
  servers: readonly string[],
  call: Try = callAsWorker,
  allMs = ALL_MS,
): Promise<Finding[]> {
  const keeping = [...network, ...subscriber].filter(({ egress }) => egress === 'preserve');
  const prefixes = new Map(keeping.flatMap((each) => each.prefixes.map((prefix) => [prefix.text, prefix])));
  const pairs = [...prefixes.values()].flatMap((prefix) =>
    servers
      .filter((server) => parseAddress(server)?.family === prefix.family)
      .map((server) => [prefix, server] as const),
  );
  if (pairs.length === 0) return [NOT_TRIED];
  const own = new Map<string, Promise<Outcome>>();
  const ownTry = (server: string): Promise<Outcome> => {
    const tried = own.get(server) ?? call(server);
    own.set(server, tried);
    return tried;
  };
  const findings: Finding[] = [];
  const endMs = performance.now() + allMs;
  const next = pairs.entries();
  const tryOneByOne = async (): Promise<void> => {
    for (const [i, [prefix, server]] of next) {
      findings[i] = await checkPath(prefix, server, ownTry, call);
      if (performance.now() >= endMs) return;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, tryOneByOne));
  const left = pairs.length - findings.length;
  return left === 0
    ? findings
    : [...findings, { ...NOT_TRIED, text: `${left} of ${pairs.length} paths were not tried` }];
}

const NOT_TRIED: Finding = {
  check: 'path',
  state: 'unknown',
  text: 'no connection was tried from an address of a network with egress = "preserve"',
  mend: 'postern doctor --to ADDRESS, a mail server outside that answers on port 25, once for each family',
};

async function checkPath(
  prefix: Prefix,
  server: string,
  ownTry: (server: string) => Promise<Outcome>,
  call: Try,
): Promise<Finding> {
  const source = lastOf(prefix);
  const between = `between ${source} and ${server}`;
  const [own, kept] = await Promise.all([ownTry(server), call(server, source)]);
  if (kept === 'connected' || kept === 'refused') {
    const but = kept === 'refused' ? ', which refuses the connection' : '';
    return { check: 'path', state: 'ok', text: `both directions ${between}${but} cross this machine` };
  }
  if (own !== 'connected' && own !== 'refused') {
    return {
      check: 'path',
      state: 'unknown',
      text: `${server} answers neither ${source} nor this machine itself on port 25: ${wordsOf(own)}`,
      mend: 'postern doctor --to another mail server',
    };
  }
  return {
    check: 'path',
    state: 'fault',
    text:
      kept === 'silent'
        ? `${between} only one direction crosses this machine (${wordsOf(kept)}): asymmetric path, unless another fault stands above`
        : `${between} there is no way: ${wordsOf(kept)}`,
    mend: `let the router in front send ${prefix.text} to this machine: there, ip -${prefix.family} route get ${source}`,
  };
}

function wordsOf(outcome: Outcome): string {
  if (typeof outcome !== 'string') return outcome.error;
  return outcome === 'silent' ? `no answer within ${TRY_MS / 1000} s` : outcome;
}

/** Packets to port 25 leave this machine for workers alone, so it is one that asks. */
async function callAsWorker(server: string, source?: string): Promise<Outcome> {
  const signal = AbortSignal.timeout(TRY_MS);
  try {
    const socket = await asFileUser(userOf('worker').uid, () =>
      source === undefined
        ? connectTo(parseAddress(server)?.family ?? 4, server, 25, signal)
        : connectFrom(source, OWN_MARK_BITS, { address: server, port: 25 }, signal),
    );
    socket.destroy();
    return 'connected';
  } catch (error) {
    const { name, code, message } = error as NodeJS.ErrnoException;
    if (code === 'ECONNREFUSED') return 'refused';
    return name === 'TimeoutError' ? 'silent' : { error: message };
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
