/**
 * The way of a message: the order of the rooms, and nothing else. docs/flow.md tells it in words.
 *
 * Each step gives a reply, never an exception: what goes wrong is a class.
 */
import type { Connected, Enveloped, Filter } from '../filter/filter.ts';
import { Message } from '../filter/message.ts';
import { type FilterResult, runFilters } from '../filter/run.ts';
import { identityOf } from '../identity/extract.ts';
import type { Arrival } from '../intercept/arrival.ts';
import type { Class } from '../policy/classes.ts';
import { type Decision, decideFound, decideIdentity, decideRecipient } from '../policy/decide.ts';
import { decideTls } from '../policy/require.ts';
import { decideSender } from '../policy/senders.ts';
import type { FarReply } from '../relay/relay.ts';
import { type How, type Reply, refusal } from '../smtp/reply.ts';
import type { Refusal } from '../smtp/session.ts';
import { acceptedOf, type Extension, type Recipient } from '../smtp/transaction.ts';
import type { BodyFault, BodyReader } from '../wire/body.ts';
import type { SpooledBody } from '../wire/spool.ts';
import { handOverCopy } from './copy.ts';

import { Counting, domainOf } from './counting.ts';
import { isExcused, refuses } from './excused.ts';
import { overLimit } from './over.ts';
import type { Rooms } from './rooms.ts';
import { isLoop, messageHashOf, receivedLine, tagLines } from './trace.ts';
import type { Whose, Work } from './work.ts';

/** Step 2: the filters that look at a connection before its banner. `id` is the session's. */
export async function connectWay(
  rooms: Rooms,
  id: string,
  arrival: Arrival,
  whose: Whose,
): Promise<Decision & { readonly found: FilterResult }> {
  const found = await runFilters(rooms.filters.connect, connectedOf(arrival, whose), rooms.config.filters.deadline);
  logFailures(rooms, id, found);
  const who = { origin: { arrival }, identity: undefined };
  return { ...decideFound(found.judged, whose.network, (of) => isExcused(rooms, who, of)), found };
}

/** Step 3: locks, filters, then the far side, whose reply is the reply. */
export async function recipientWay(rooms: Rooms, work: Work, recipient: Recipient, helo: string): Promise<Reply> {
  const lock = rooms.ledger.lockOf(work.origin.arrival.source, {
    subject: work.origin.subject,
    tenant: work.origin.network.tenant,
  });
  const locked = decideRecipient(lock, work.origin.network.mode);
  if (refuses(rooms, work, locked)) return refused(rooms, work, locked.verdict.class, lockText(rooms));
  const { transaction } = work;
  const sender = decideSender(work.origin.network, transaction.from.path, () => recipientsBefore(work, recipient));
  if (sender && refuses(rooms, work, sender)) return refused(rooms, work, sender.verdict.class);
  if (rooms.filters.envelope.length > 0) {
    // One look for all recipients of a transaction, which may be asked about side by side.
    work.enveloped ??= envelopeWay(rooms, work, recipient, helo);
    const envelope = await work.enveloped;
    const { kind, class: of } = envelope.verdict;
    if (refuses(rooms, work, envelope) && kind !== 'accept') return refused(rooms, work, of, { as: kind });
  }
  if (work.isRecorded) return gone(rooms, work);
  const { limits, subject } = work.origin;
  if (!limits) return farRecipient(rooms, work, recipient);
  work.counting ??= new Counting(rooms.ledger, limits, subject, work.transaction.from.path, work.atMs);
  const { taken, answered } = await work.counting.recipient(recipient.path);
  const over = await overLimit(rooms, work, taken);
  const reply = over ? refused(rooms, work, over.class, over) : await farRecipient(rooms, work, recipient);
  answered(reply);
  return reply;
}

/** How many were asked about before, whatever the answer: one that depends on it would depend on pipelining. */
function recipientsBefore({ transaction }: Work, recipient: Recipient): number {
  return transaction.recipients.findIndex((asked) => asked.recipient === recipient);
}

/** The host went away while something was waited for: nothing is counted or asked for it any more. Nobody hears this. */
function gone(rooms: Rooms, work: Work): Reply {
  return refused(rooms, work, 'session.gone');
}

/** Nothing is waited for before the far side is asked: recipients of one message may be asked about side by side. */
async function farRecipient(rooms: Rooms, work: Work, recipient: Recipient): Promise<Reply> {
  const { isRequired, decision } = tlsWay(rooms, work, recipient);
  if (refuses(rooms, work, decision)) return refused(rooms, work, decision.verdict.class);
  // The server that a host has called is the only one: with TLS, or not.
  if (isRequired && work.relay?.isEncrypted === false) return refused(rooms, work, 'upstream.clear');
  if (rooms.verifier && work.relay?.isEncrypted !== undefined) {
    const {
      policy,
      result,
      refusal: why,
    } = await rooms.verifier.verify(domainOf(recipient.path), work.origin.arrival.destination, work.relay.peer);
    rooms.counts.verified(policy, result);
    if (why) {
      work.upstreamReply = `${policy}: ${result}`;
      return refused(rooms, work, why);
    }
    work.verifiedBy(result === 'success' ? policy : undefined);
  }
  if (work.isRecorded) return gone(rooms, work);
  if (!work.relay) {
    const { from, id } = work.transaction;
    work.needsTls = isRequired || from.needs.includes(TLS);
    const needs = work.needsTls && !from.needs.includes(TLS) ? [...from.needs, TLS] : from.needs;
    work.relay = rooms.relay.begin(needs === from.needs ? from : { ...from, needs }, id, work.origin.subject);
  }
  return mirrored(rooms, work, await work.relay.recipient(recipient));
}

const TLS: Extension = 'STARTTLS';

/** Whether TLS is required of either leg, for this recipient of this sender. */
function tlsWay(rooms: Rooms, work: Work, { path: to }: Recipient): { isRequired: boolean; decision: Decision } {
  const { tlsRules, config } = rooms;
  const { tls, trustedLink } = config.smarthost;
  // No connection is without TLS, or none needs it.
  const isSafe = work.needsTls || tls === 'verify' || trustedLink || work.relay?.isEncrypted !== undefined;
  const begun = !work.relay ? 'none' : isSafe ? 'with-tls' : 'without';
  const mail = { from: work.transaction.from.path, to, isEncrypted: work.origin.tls !== undefined };
  return { isRequired: tlsRules.to.has(to), decision: decideTls(tlsRules, mail, begun, work.origin.network.mode) };
}

async function envelopeWay(rooms: Rooms, work: Work, recipient: Recipient, helo: string): Promise<Decision> {
  const { filters, config } = rooms;
  const found = await runFilters(filters.envelope, envelopedOf(work, helo, [recipient]), config.filters.deadline);
  logFailures(rooms, work.transaction.id, found);
  work.found(found);
  return decideFound(work.judged, work.origin.network, (of) => isExcused(rooms, work, of));
}

/** Steps 5 and 6: from the final dot to the answer. */
export async function messageWay(
  rooms: Rooms,
  work: Work,
  body: BodyReader,
  facts: { readonly helo: string; readonly esmtp: boolean },
): Promise<Reply> {
  const startMs = rooms.clock.monotonicMs();
  work.sizeBytes = body.receivedBytes;
  if (body.fault !== undefined) return refused(rooms, work, FAULTS[body.fault], { close: body.lenientEnd });

  const { config } = rooms;
  const message = new Message(body.spool);
  if (isLoop(message.fields(), config.gateway.name, config.limits.received)) return refused(rooms, work, 'body.loop');

  const { network } = work.origin;
  if (network.content !== 'blind') work.messageHash = messageHashOf(message.fields());
  if (network.identity.length > 0) {
    const fields = network.content === 'blind' ? undefined : (): ReturnType<Message['fields']> => message.fields();
    work.identity = identityOf(network.identity, { sender: work.transaction.from.path, helo: facts.helo, fields });
    const locked = identityLocked(rooms, work);
    if (locked) return locked;
  }

  const mail = { ...envelopedOf(work, facts.helo, acceptedOf(work.transaction)), message };
  const filters = network.content === 'blind' ? NO_FILTERS : rooms.filters.body;
  const found = await runFilters(filters, mail, config.filters.deadline);
  message.close();
  logFailures(rooms, work.transaction.id, found);
  work.found(found);

  const { verdict, wouldBe, tags } = decideFound(work.judged, network, (of) => isExcused(rooms, work, of));
  work.wouldBe ??= wouldBe;
  work.verdictMs = rooms.clock.monotonicMs() - startMs;
  if (verdict.kind === 'reject') handOverCopy(rooms, work, message, verdict.class);
  if (verdict.kind !== 'accept') return refused(rooms, work, verdict.class, { as: verdict.kind });
  if (work.counting) {
    const over =
      (await overLimit(rooms, work, await work.counting.whole(work.sizeBytes))) ?? (await identityOver(rooms, work));
    if (over) return refused(rooms, work, over.class, over);
  }

  work.tags = tags;
  const far = await send(rooms, work, body.spool, facts);
  work.relayMs = rooms.clock.monotonicMs() - startMs - work.verdictMs;
  return mirrored(rooms, work, far);
}

/** The refusal when the identity is locked, and not whom it sends from. */
function identityLocked(rooms: Rooms, work: Work): Reply | undefined {
  const { identity, origin } = work;
  if (identity === undefined) return undefined;
  const { arrival, subject, network } = origin;
  const whom = { address: arrival.source, subject, tenant: network.tenant };
  const lock = rooms.ledger.lockOfIdentity(identity, whom);
  if (!lock) return undefined;
  const decision = decideIdentity(lock, network.mode);
  if (!refuses(rooms, work, decision)) return undefined;
  const { kind, class: of } = decision.verdict;
  return kind === 'accept' ? undefined : refused(rooms, work, of, { as: kind, ...lockText(rooms) });
}

/** What the operator has those told who are locked. */
export function lockText({ config: { locks } }: Rooms): How {
  return locks.text === undefined ? {} : { text: locks.text };
}

/** The limits of the identity, which is known only when the message is there. */
async function identityOver(rooms: Rooms, work: Work): Promise<Refusal | undefined> {
  const { counting, identity, sizeBytes } = work;
  if (!counting || identity === undefined || work.origin.limits?.identity.length === 0) return undefined;
  const recipients = acceptedOf(work.transaction).map(({ path }) => path);
  return overLimit(rooms, work, await counting.byIdentity(identity, { sizeBytes, recipients }));
}

async function send(
  rooms: Rooms,
  work: Work,
  spool: SpooledBody,
  facts: { readonly helo: string; readonly esmtp: boolean },
): Promise<FarReply> {
  const { transaction, origin } = work;
  const accepted = acceptedOf(transaction);
  const trace =
    origin.network.trace === 'hide' && origin.network.egress === 'preserve'
      ? NO_TRACE
      : receivedLine({
          gatewayName: rooms.config.gateway.name,
          arrival: origin.arrival,
          helo: facts.helo,
          protocol: `${transaction.smtpUtf8 ? 'UTF8SMTP' : facts.esmtp ? 'ESMTP' : 'SMTP'}${origin.tls ? 'S' : ''}`,
          id: transaction.id,
          soleRecipient: accepted.length === 1 ? accepted[0]?.path : undefined,
          nowMs: rooms.clock.nowMs(),
        });
  const top = work.tags.length > 0 ? Buffer.concat([tagLines(work.tags, transaction.id), trace]) : trace;
  // A 354 was said only because a recipient stood, so there is a relay transaction.
  return work.relay
    ? work.relay.send(top, spool)
    : { kind: 'failure', class: 'error.internal', detail: 'a body without a relay transaction' };
}

const NO_FILTERS: readonly Filter<'body'>[] = [];
const NO_TRACE = Buffer.alloc(0);

const FAULTS: Readonly<Record<BodyFault, Class>> = {
  'line-end': 'body.line-end',
  nul: 'body.nul',
  'line-length': 'body.line-length',
  size: 'body.size',
  memory: 'limit.memory',
};

function connectedOf({ source, destination }: Arrival, { network, subject }: Whose): Connected {
  return { source, subscriber: subject, network: network.name, destination };
}

function envelopedOf({ origin, transaction }: Work, helo: string, recipients: readonly Recipient[]): Enveloped {
  const { source, destination } = origin.arrival;
  return {
    source,
    subscriber: origin.subject,
    network: origin.network.name,
    destination,
    helo,
    isEarly: origin.isEarly,
    sender: transaction.from.path.slice(1, -1),
    recipients: recipients.map(({ path }) => path.slice(1, -1)),
  };
}

function logFailures(rooms: Rooms, id: string, { failures }: FilterResult): void {
  for (const { filter, reason } of failures) rooms.log.write('warn', 'filter-failed', { id, filter, reason });
}

function refused(rooms: Rooms, work: Work, of: Class, how: How = {}): Reply {
  return refusal(of, work.transaction.id, rooms.config.gateway.helpUrl, how);
}

/** What the far side said, or why it said nothing, for the record. */
export function noteFar(rooms: Rooms, work: Work, far: FarReply): void {
  if (far.server !== undefined) {
    work.upstream = far.server;
    const isTrusted = work.origin.network.egress === 'smarthost' && rooms.config.smarthost.trustedLink;
    work.upstreamTls = far.tlsVersion ?? (isTrusted ? 'trusted' : 'clear');
  }
  work.upstreamReply = far.kind === 'failure' ? far.detail : far.bytes.toString('latin1').trimEnd().slice(0, 500);
}

/** The far side's reply as it came; where there is none, ours with the reason's class. */
function mirrored(rooms: Rooms, work: Work, far: FarReply): Reply {
  noteFar(rooms, work, far);
  if (far.kind === 'failure') {
    rooms.log.write('warn', 'upstream-failed', {
      id: work.transaction.id,
      class: far.class,
      server: far.server,
      // Not the detail: the far side's text can quote an address, and the network may keep none.
      step: far.step,
      code: far.code,
    });
    // A server that answers for itself is gone with its connection, and the session with it.
    return refused(rooms, work, far.class, { close: work.origin.network.egress === 'preserve' });
  }
  return {
    code: far.code,
    bytes: far.bytes,
    ...(far.code >= 400 && { class: 'upstream.reply' as const }),
    ...(far.code === 421 && { close: true }),
  };
}
