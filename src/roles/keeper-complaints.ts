/**
 * Complaints about mail from here: whose message it was, that it is counted, and what rules make of it.
 *
 * The message is found by our own id, by its Message-ID, or by address, time and sender. A complaint whose message the journal
 * no longer has counts for nobody, but is kept with whom the address belonged to.
 *
 * A complaint can stop a host, and many who look after an address send on unread what comes there. Only our own id counts
 * towards rules: every reader of a list knows a message's Message-ID, sender and time. And only of a message that has left
 * here, so that others have it, or in a report that we have sent.
 */
import { join } from 'node:path';
import { type Intake, startIntake } from '../complaint/intake.ts';
import { type Maildir, maildir } from '../complaint/maildir.ts';
import { type Read, readComplaint } from '../complaint/read.ts';
import type { Config } from '../config/schema.ts';
import { canonical, type Prefix } from '../kit/address.ts';
import type { Clock } from '../kit/clock.ts';
import type { Log } from '../kit/log.ts';
import { PrefixMap } from '../kit/prefix-map.ts';
import { type Complaint, ComplaintHistory } from '../ledger/complaints.ts';
import type { Who } from '../ledger/language.ts';
import type { Classed } from '../ledger/lockrules.ts';
import type { Complained, ComplaintClass } from '../policy/feedback.ts';
import type { Attempt } from '../record/events.ts';
import { isHidden } from '../record/privacy.ts';
import type { LogAnswer, LogFilter } from '../record/query.ts';

/** How far the time of a report may be from the journal's: clocks differ, and mail waits. */
const APART_MS = 15 * 60_000;
const LOOK_MS = 5_000;

export type KeeperComplaints = {
  /** The newest first; `id` is a message's. */
  readonly list: (limit: number, id?: string) => readonly Complaint[];
  /** One mail, latin1. Rejects when it cannot be noted just now. */
  readonly take: (mail: string, via: Complaint['via']) => Promise<Complaint>;
  readonly port: () => number | undefined;
  readonly configure: () => void;
  readonly close: () => Promise<void>;
};

export type ComplaintDeps = {
  readonly stateDir: string;
  readonly config: () => Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly search: (filter: LogFilter) => Promise<LogAnswer>;
  /** Whom an address belonged to at a time. */
  readonly who: (address: string, atMs: number) => Promise<Who>;
  /** The message's attempt, once more, with the class that rules count; its time is the complaint's. */
  readonly counted: (attempt: Attempt & Pick<Classed, 'isIdentityHidden'>, of: ComplaintClass) => void;
  readonly metric: (type: Complained, isFound: boolean) => void;
};

type Found = { readonly how: NonNullable<Complaint['how']>; readonly attempt: Attempt };

export function keeperComplaints(deps: ComplaintDeps): KeeperComplaints {
  const { config, clock, log, search, who, counted, metric } = deps;
  const history = new ComplaintHistory(join(deps.stateDir, 'complaints.jsonl'), log);
  let intake: Intake | undefined;
  let box: Maildir | undefined;
  let running = '';

  const newest = async (filter: Omit<LogFilter, 'limit'>): Promise<Attempt | undefined> =>
    (await search({ ...filter, limit: 1 })).rows[0];

  const find = async ({ id, messageId, source, arrivedMs, sender }: Read): Promise<Found | undefined> => {
    const byId = id === undefined ? undefined : await newest({ id: id.toUpperCase() });
    if (byId) return { how: 'id', attempt: byId };
    const byMessage = messageId === undefined ? undefined : await newest({ messageId });
    if (byMessage) return { how: 'message-id', attempt: byMessage };
    const address = source === undefined ? undefined : canonical(source);
    if (address === undefined || arrivedMs === undefined || sender === undefined) return undefined;
    const near = { source: address, sender, since: arrivedMs - APART_MS, until: arrivedMs + APART_MS };
    const { rows } = await search({ ...near, limit: 2 });
    // With two it would be a guess.
    const [only, second] = rows;
    return only && !second ? { how: 'envelope', attempt: only } : undefined;
  };

  const take = async (mail: string, via: Complaint['via']): Promise<Complaint> => {
    const read = readComplaint(mail, config().gateway.name);
    const found = await find(read);
    const at = clock.nowMs();
    const address = read.source === undefined ? undefined : canonical(read.source);
    const belonged = found || address === undefined ? undefined : await who(address, read.arrivedMs ?? at);
    const isFirst = found !== undefined && !history.has(found.attempt.id);
    const complaint: Complaint = {
      ...{ at, via, type: read.type, how: found?.how, id: found?.attempt.id },
      source: found?.attempt.source ?? address,
      network: found?.attempt.network ?? belonged?.network,
      tenant: found ? found.attempt.tenant : belonged?.tenant,
      subscriber: found ? found.attempt.subscriber : belonged?.subscriber,
      counts: isFirst && isKnown(read, found) && read.type !== 'not-spam',
    };
    history.add(complaint);
    metric(read.type, found !== undefined);
    log.write('info', 'complaint', {
      type: read.type,
      id: complaint.id,
      how: complaint.how,
      source: complaint.source,
      counts: complaint.counts,
    });
    if (found && complaint.counts && read.type !== 'not-spam')
      counted({ ...named(found.attempt), at }, `complaint.${read.type}`);
    return complaint;
  };

  const configure = (): void => {
    const { complaints, gateway } = config();
    const wanted = JSON.stringify([complaints.listen?.text, complaints.protocol, complaints.maildir, gateway.name]);
    if (wanted === running) return;
    running = wanted;
    const { listen, protocol } = complaints;
    void intake?.close();
    intake =
      listen &&
      startIntake({
        ...{ host: listen.host, port: listen.port, isLmtp: protocol === 'lmtp', gateway: gateway.name, log },
        mayConnect: (from) => isIn(config().complaints.from, from),
        onMail: async (mail) => void (await take(mail, protocol)),
      });
    box =
      complaints.maildir === undefined
        ? undefined
        : maildir(complaints.maildir, async (mail) => void (await take(mail, 'maildir')), log);
    void box?.look();
  };
  configure();
  const timer = setInterval(() => void box?.look(), LOOK_MS);

  return {
    list: (limit, id) => (id === undefined ? history.list(limit) : history.of(id).slice(0, limit)),
    take,
    port: () => intake?.port(),
    configure,
    async close() {
      clearInterval(timer);
      await intake?.close();
    },
  };
}

/** Whether whoever complains had the message, or a report of ours about it. */
function isKnown({ isOwn }: Read, { how, attempt }: Found): boolean {
  return how === 'id' && (isOwn || attempt.verdict === 'accept');
}

/** Under `log` = "hash" or "none" the journal's word for an identity is nobody's name. */
function named(attempt: Attempt): Attempt & Pick<Classed, 'isIdentityHidden'> {
  const isIdentityHidden = attempt.identity !== undefined && isHidden(attempt.identity);
  return isIdentityHidden ? { ...attempt, identity: undefined, isIdentityHidden } : attempt;
}

function isIn(prefixes: readonly Prefix[], address: string): boolean {
  return new PrefixMap(prefixes.map((one) => [one, true] as const)).find(canonical(address) ?? '') === true;
}
