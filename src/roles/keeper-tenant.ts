/**
 * What the panel knows, as somebody may see it who is bound to a tenant: of the tenant's hosts, and of nobody else's.
 * Each question that may be asked is named here; any other is refused, so that a new one is shut until it is thought of.
 */
import { prefixesOfName } from '../config/effective.ts';
import type { Config } from '../config/schema.ts';
import { sendersOf, type Senders } from '../identity/senders.ts';
import { overlaps, parsePrefix, type Prefix } from '../kit/address.ts';
import type { Complaint } from '../ledger/complaints.ts';
import type { Lock, LockEvent, Question, Status, Step, StepEvent, VerifyingPair } from '../ledger/language.ts';
import { Refusal } from '../panel/refusal.ts';
import type { Rooms } from '../panel/routes.ts';

/** of a history before others' is left out of it */
const MAX_EVENTS = 10_000;

export function tenantRooms(rooms: Rooms, configNow: () => Config): (tenant: string) => Rooms {
  let known: { readonly config: Config; readonly senders: Senders; readonly rooms: Map<string, Rooms> } | undefined;
  return (tenant) => {
    const config = configNow();
    if (known?.config !== config) known = { config, senders: sendersOf(config), rooms: new Map() };
    let found = known.rooms.get(tenant);
    if (!found) known.rooms.set(tenant, (found = roomsFor(tenant, rooms, config, ownerOf(tenant, known))));
    return found;
  };
}

function shut(): never {
  throw new Refusal(403, 'whoever is bound to a tenant does not see this');
}

type Owns = (subject: string) => boolean;

function roomsFor(tenant: string, rooms: Rooms, config: Config, owns: Owns): Rooms {
  const locks = async (): Promise<readonly Lock[]> =>
    ((await rooms.ask({ of: 'locks' })) as readonly Lock[]).filter(({ subject }) => owns(subject));
  const ask = async (question: Question): Promise<unknown> => {
    switch (question.of) {
      case 'status':
        return statusFor((await rooms.ask(question)) as Status, tenant, config, owns, await locks());
      case 'locks':
        return locks();
      case 'lock-history': {
        const all = (await rooms.ask({ ...question, limit: MAX_EVENTS })) as readonly LockEvent[];
        return all.filter(({ lock }) => owns(lock.subject)).slice(0, question.limit);
      }
      case 'steps':
        return ((await rooms.ask(question)) as readonly Step[]).filter(({ subject }) => owns(subject));
      case 'step-history': {
        const all = (await rooms.ask({ ...question, limit: MAX_EVENTS })) as readonly StepEvent[];
        return all.filter(({ step }) => owns(step.subject)).slice(0, question.limit);
      }
      case 'verifying':
        return ((await rooms.ask(question)) as readonly VerifyingPair[]).filter(({ subject }) => owns(subject));
      case 'log':
        return rooms.ask({ ...question, filter: { ...question.filter, tenant } });
      case 'top':
        return rooms.ask({ ...question, question: { ...question.question, tenant } });
      case 'complaints': {
        const all = (await rooms.ask({ ...question, limit: MAX_EVENTS })) as readonly Complaint[];
        return all.filter((one) => one.tenant === tenant).slice(0, question.limit);
      }
      case 'ca':
      case 'counters':
      case 'lock':
      case 'unlock':
      case 'people':
      case 'user-add':
      case 'token-add':
      case 'person-remove':
      case 'sources':
      case 'step':
      case 'step-back':
      case 'verifying-forget':
      case 'who':
      case 'whose':
        break;
    }
    return shut();
  };
  return {
    ask,
    receivers: (question) => rooms.receivers({ ...question, tenant }),
    listings: () => rooms.listings().filter((one) => one.tenant === tenant),
    history: (question) => rooms.history({ ...question, tenant }),
    sender: async (address) => (owns(address) ? rooms.sender(address) : undefined),
    config: {
      shown: shut,
      check: shut,
      apply: shut,
      confirm: shut,
      back: shut,
    },
    line: { look: shut, unlock: shut },
    audited: () => [],
    nowMs: () => rooms.nowMs(),
  };
}

/** Whether what a subject stands for belongs to the tenant: an address, a prefix, `@NAME`, `network:NAME`, `tenant:NAME`. */
function ownerOf(tenant: string, { config, senders }: { readonly config: Config; readonly senders: Senders }): Owns {
  const own = prefixesOfName(config, `tenant:${tenant}`);
  const isOwn = (prefix: Prefix): boolean => {
    if (!own.some((one) => one.length <= prefix.length && overlaps(one, prefix))) return false;
    // A subscriber in a tenant's network may be another tenant's.
    const [address = ''] = prefix.text.split('/');
    return senders.find(address)?.network.tenant === tenant;
  };
  return (subject) => {
    if (subject === `tenant:${tenant}`) return true;
    const [, network] = /^network:(.+)$/.exec(subject) ?? [];
    if (network !== undefined) return config.network.find(({ name }) => name === network)?.tenant === tenant;
    const prefix = parsePrefix(subject);
    const prefixes = prefix ? [prefix] : subject.startsWith('@') ? prefixesOfName(config, subject) : [];
    return prefixes.length > 0 && prefixes.every(isOwn);
  };
}

/** Of the gateway whether it intercepts; of networks, locks and steps the tenant's own. */
function statusFor(
  status: Status,
  tenant: string,
  { network, subscriber }: Config,
  owns: Owns,
  locks: readonly Lock[],
): Status {
  const names = new Set(network.filter((one) => one.tenant === tenant).map(({ name }) => name));
  const { kernel, waysRound } = status;
  return {
    version: status.version,
    name: status.name,
    startedAt: status.startedAt,
    uptimeMs: status.uptimeMs,
    intercepting: status.intercepting,
    problem: status.intercepting ? undefined : 'the gateway does not intercept; whoever runs it knows why',
    subscribers: subscriber.filter((one) => owns(`@${one.name}`)).length,
    networks: status.networks.filter(({ name }) => names.has(name)),
    prefixes: status.prefixes.filter(({ network: of }) => names.has(of)),
    kernel: kernel && {
      ...{ alive: kernel.alive, aliveSince: kernel.aliveSince, repaired: 0, configErrors: 0 },
      ...{ inside: [], exemptTo: [], workers: [] },
      refused: kernel.refused.filter((one) => names.has(one.network)),
      topRefused: kernel.topRefused.filter(({ source }) => owns(source)),
    },
    kernelAgeMs: status.kernelAgeMs,
    workers: { configured: 0, connected: [] },
    upstream: [],
    services: [],
    sessionsOpen: 0,
    held: { connections: 0, sources: 0 },
    locks: locks.length,
    steps: status.steps.filter(({ subject }) => owns(subject)),
    journal: {
      ...{ ok: true, problem: undefined, path: '', sizeBytes: 0, written: 0, dropped: 0, waiting: 0 },
      oldest: undefined,
    },
    configErrors: 0,
    waysRound: {
      ...{ missingInterfaces: [], exemptTo: [], unread: 0 },
      exemptNetworks: waysRound.exemptNetworks.filter(({ name }) => names.has(name.replace(/ \(subscribers\)$/, ''))),
      failOpen: waysRound.failOpen.filter((name) => names.has(name.replace(/ \(subscribers\)$/, ''))),
    },
  };
}
