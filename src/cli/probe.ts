/** `postern probe`: who answers on port 25, at which hop, compared with a port that nobody intercepts. */
import { parseArgs } from 'node:util';
import { parseAddress } from '../kit/address.ts';
import { askHop, type Hop } from '../kit/hop.ts';
import { asFileUserUntil } from '../kit/native-socket.ts';
import { userOf } from '../kit/users.ts';
import { type Command, UsageError } from './command.ts';
import { table } from './show.ts';

const MAIL = 25;
const OTHER = 587;
const DEFAULT_HOPS = 30;
const WAIT_MS = 1_000;
/** Silent hops after which nothing is expected any more. */
const MOST_SILENT = 8;

export const command: Command = {
  name: 'probe',
  summary: 'find at which hop somebody answers on port 25, compared with port 587',
  help: `Usage: postern probe ADDRESS [--hops N] [--json]

Sends SYNs to ports 25 and 587 of an address that live for one hop, for two, and so on, until somebody answers, and prints
who says what became of them. On a host behind the gateway it shows whether the gateway answers for port 25; on the gateway
itself, whether anybody further out does, or refuses it. There it is sent as a worker sends. Needs root; IPv4 and IPv6.

  --hops N   at most (default ${DEFAULT_HOPS})
  --json     {address, ports: {"25": {answeredAfter, hops}, "587": ...}}

Exit status: 0 both are answered after as many hops; 1 not.

Example: postern probe 192.0.2.25
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { hops: { type: 'string', default: String(DEFAULT_HOPS) }, json: { type: 'boolean', default: false } },
    });
    const target = positionals.length === 1 ? parseAddress(positionals[0] ?? '') : undefined;
    const address = positionals[0] ?? '';
    if (!target) throw new UsageError('name one address, for example 192.0.2.25');
    const most = Number(values.hops);
    if (!Number.isInteger(most) || most < 1 || most > 64)
      throw new UsageError('--hops: expected a number from 1 to 64');
    const trace = (port: number): Promise<readonly Hop[]> =>
      traceTo((hops) => askHop({ family: target.family, address, port, hops }, WAIT_MS), most);
    // Of this machine's own connections to port 25 the kernel rules let out those of workers.
    const [mail, other] = await asFileUserUntil(userOf('worker').uid, () => Promise.all([trace(MAIL), trace(OTHER)]));
    if (values.json)
      io.out(JSON.stringify({ address, ports: { 25: summary(mail), 587: summary(other) } }, undefined, 2));
    else io.out(probeText(address, mail, other));
    return answeredAfter(mail) !== undefined && answeredAfter(mail) === answeredAfter(other) ? 0 : 1;
  },
};

/**
 * One hop after the other until somebody answers or refuses, or nothing comes back any more. A hop that is silent is asked once
 * more: routers say only so often that something has lived too long (Linux: once a second to one host, after six).
 */
export async function traceTo(ask: (hops: number) => Promise<Hop>, most: number): Promise<readonly Hop[]> {
  const hops: Hop[] = [];
  for (let silent = 0; hops.length < most && silent < MOST_SILENT; ) {
    const first = await ask(hops.length + 1);
    const hop = first.kind === 'silent' ? await ask(hops.length + 1) : first;
    hops.push(hop);
    silent = hop.kind === 'silent' ? silent + 1 : 0;
    if (hop.kind !== 'passed' && hop.kind !== 'silent') break;
  }
  return hops;
}

/** In hops; undefined when nobody does. */
function answeredAfter(hops: readonly Hop[]): number | undefined {
  const last = hops.at(-1);
  return last?.kind === 'open' || last?.kind === 'refused' ? hops.length : undefined;
}

function summary(hops: readonly Hop[]): object {
  return { answeredAfter: answeredAfter(hops), hops };
}

export function probeText(address: string, mail: readonly Hop[], other: readonly Hop[]): string {
  const rows = Array.from({ length: Math.max(mail.length, other.length) }, (_, i) => [
    String(i + 1),
    hopText(mail[i], address),
    hopText(other[i], address),
  ]);
  return `${table(['HOP', `PORT ${MAIL}`, `PORT ${OTHER}`], rows)}\n${conclusion(mail, other)}\n`;
}

function hopText(hop: Hop | undefined, address: string): string {
  if (!hop) return '';
  if (hop.kind === 'passed') return hop.by;
  if (hop.kind === 'stopped') return `${hop.by} says no way`;
  return hop.kind === 'silent' ? '*' : `${address} ${hop.kind === 'open' ? 'accepts' : 'refuses'}`;
}

function conclusion(mail: readonly Hop[], other: readonly Hop[]): string {
  const [at, otherAt] = [answeredAfter(mail), answeredAfter(other)];
  const stopped = mail.at(-1);
  if (at === undefined)
    return stopped?.kind === 'stopped'
      ? `Port 25 is refused by ${stopped.by}.`
      : 'Nobody answers on port 25: it is dropped on the way, or the address does not answer.';
  if (otherAt === undefined)
    return `Port 25 is answered after ${hopsText(at)}; nobody answers on port 587 to compare with.`;
  if (at < otherAt)
    return `Port 25 is answered after ${hopsText(at)}, port 587 after ${hopsText(otherAt)}: somebody on the way answers for port 25.`;
  return at === otherAt
    ? `Both are answered after ${hopsText(at)}: nobody in between answers for port 25, or for both.`
    : `Port 587 is answered after ${hopsText(otherAt)}, port 25 after ${hopsText(at)}: they take different ways.`;
}

function hopsText(count: number): string {
  return count === 1 ? '1 hop' : `${count} hops`;
}
