/** One line of JSON for each attempt, through the log: for journald, or whatever reads standard output. */
import type { Log } from '../kit/log.ts';
import type { Attempt } from './events.ts';

/** journald splits lines at 48 KiB; who needs all of 1,000 recipients asks the journal. */
const MAX_RECIPIENTS = 20;
const MAX_FINDINGS = 20;

/** Writes an attempt to which `Privacy.apply` has been applied. Strings are cut and escaped by the log. */
export function writeLine(log: Log, a: Attempt): void {
  // Named one by one: a copy with changes takes JSON.stringify twice as long.
  log.write('info', 'attempt', {
    id: a.id,
    session: a.session,
    worker: a.worker,
    network: a.network,
    mode: a.mode,
    subscriber: a.subscriber,
    tenant: a.tenant,
    source: a.source,
    sourcePort: a.sourcePort,
    destination: a.destination,
    destinationPort: a.destinationPort,
    helo: a.helo,
    esmtp: a.esmtp,
    tls: a.tls,
    identity: a.identity,
    sender: a.sender,
    messageHash: a.messageHash,
    sizeBytes: a.sizeBytes,
    verdict: a.verdict,
    class: a.class,
    wouldBe: a.wouldBe,
    points: a.points,
    reply: a.reply,
    egress: a.egress,
    upstream: a.upstream,
    upstreamReply: a.upstreamReply,
    upstreamTls: a.upstreamTls,
    verdictMs: a.verdictMs,
    relayMs: a.relayMs,
    totalMs: a.totalMs,
    time: new Date(a.at).toISOString(),
    recipients: a.recipients.length > MAX_RECIPIENTS ? a.recipients.slice(0, MAX_RECIPIENTS) : a.recipients,
    recipientCount: a.recipients.length + (a.recipientsOmitted ?? 0),
    findings: a.findings.length > MAX_FINDINGS ? a.findings.slice(0, MAX_FINDINGS) : a.findings,
  } satisfies Line);
}

/** The line has an `event` and an `at` of its own. */
type Line = { readonly [K in Exclude<keyof Attempt, 'kind' | 'at' | 'recipientsOmitted'>]: Attempt[K] } & {
  readonly time: string;
  readonly recipientCount: number;
};
