/**
 * The way of a message: the order of the rooms, and nothing else. docs/flow.md tells it in words.
 *
 * Each step gives a reply, never an exception: what goes wrong is a class.
 */
import { Message } from '../filter/message.ts';
import { runFilters } from '../filter/run.ts';
import { sourceOf } from '../kit/address.ts';
import type { Class } from '../policy/classes.ts';
import { decideMessage, decideRecipient } from '../policy/decide.ts';
import type { FarReply } from '../relay/relay.ts';
import { type Reply, refusal } from '../smtp/reply.ts';
import { acceptedOf, type Recipient } from '../smtp/transaction.ts';
import type { BodyFault, BodyReader } from '../wire/body.ts';
import type { SpooledBody } from '../wire/spool.ts';
import type { Rooms } from './rooms.ts';
import { isLoop, receivedLine } from './trace.ts';
import type { Work } from './work.ts';

/** Step 3: locks, then the far side, whose reply is the reply. */
export async function recipientWay(rooms: Rooms, work: Work, recipient: Recipient): Promise<Reply> {
  const { verdict, wouldBe } = decideRecipient(
    rooms.ledger.lockOf(work.origin.arrival.source),
    work.origin.network.mode,
  );
  work.wouldBe ??= wouldBe;
  if (verdict.kind !== 'accept') return refused(rooms, work, verdict.class);
  work.relay ??= rooms.relay.begin(work.transaction.from, work.transaction.id, sourceOf(work.origin.arrival.source));
  return mirrored(rooms, work, await work.relay.recipient(recipient));
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

  const { findings, seen, failures } = await runFilters(rooms.filters, message, config.filters);
  work.findings = findings;
  for (const { filter, reason } of failures)
    rooms.log.write('warn', 'filter-failed', { id: work.transaction.id, filter, reason });

  const { verdict, wouldBe } = decideMessage(seen, work.origin.network.mode);
  work.wouldBe ??= wouldBe;
  work.verdictMs = rooms.clock.monotonicMs() - startMs;
  if (verdict.kind !== 'accept') return refused(rooms, work, verdict.class, { as: verdict.kind });

  const far = await send(rooms, work, body.spool, facts);
  work.relayMs = rooms.clock.monotonicMs() - startMs - work.verdictMs;
  return mirrored(rooms, work, far);
}

async function send(
  rooms: Rooms,
  work: Work,
  spool: SpooledBody,
  facts: { readonly helo: string; readonly esmtp: boolean },
): Promise<FarReply> {
  const { transaction, origin } = work;
  const accepted = acceptedOf(transaction);
  const trace = receivedLine({
    gatewayName: rooms.config.gateway.name,
    arrival: origin.arrival,
    helo: facts.helo,
    protocol: transaction.smtpUtf8 ? 'UTF8SMTP' : facts.esmtp ? 'ESMTP' : 'SMTP',
    id: transaction.id,
    soleRecipient: accepted.length === 1 ? accepted[0]?.path : undefined,
    nowMs: rooms.clock.nowMs(),
  });
  // A 354 was said only because a recipient stood, so there is a relay transaction.
  return work.relay
    ? work.relay.send(trace, spool)
    : { kind: 'failure', class: 'error.internal', detail: 'a body without a relay transaction' };
}

const FAULTS: Readonly<Record<BodyFault, Class>> = {
  'line-end': 'body.line-end',
  nul: 'body.nul',
  'line-length': 'body.line-length',
  size: 'body.size',
  memory: 'limit.memory',
};

function refused(
  rooms: Rooms,
  work: Work,
  of: Class,
  how: { readonly as?: 'defer' | 'reject'; readonly close?: boolean } = {},
): Reply {
  return refusal(of, work.transaction.id, rooms.config.gateway.helpUrl, how);
}

/** The far side's reply as it came; where there is none, ours with the reason's class. */
function mirrored(rooms: Rooms, work: Work, far: FarReply): Reply {
  work.upstream = far.server ?? work.upstream;
  if (far.kind === 'failure') {
    work.upstreamReply = far.detail;
    rooms.log.write('warn', 'upstream-failed', {
      id: work.transaction.id,
      class: far.class,
      server: far.server,
      // Not the detail: the far side's text can quote an address, and the network may keep none.
      step: far.step,
      code: far.code,
    });
    return refused(rooms, work, far.class);
  }
  work.upstreamReply = far.bytes.toString('latin1').trimEnd().slice(0, 500);
  return { code: far.code, bytes: far.bytes, ...(far.code >= 400 && { class: 'upstream.reply' as const }) };
}
