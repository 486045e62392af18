/**
 * Attempts as rows of the journal, and back. On their way to the file many are one list of plain values, and that is one
 * string of JSON: several times cheaper to keep and to hand to a thread than objects.
 */
import { parseAddress } from '../kit/address.ts';
import type { Class } from '../policy/classes.ts';
import type { Attempt, Finding, RecipientOutcome } from './events.ts';

/** Of `attempts` without `n`, which follows from where it is written. */
export const COLUMNS = [
  'at',
  'id',
  'session',
  'worker',
  'network',
  'mode',
  'subscriber',
  'source',
  'source_key',
  'source_port',
  'destination',
  'destination_port',
  'helo',
  'esmtp',
  'tls_version',
  'tls_cipher',
  'tls_name',
  'identity',
  'sender',
  'omitted',
  'size',
  'verdict',
  'class',
  'would_be',
  'reply',
  'egress',
  'upstream',
  'upstream_reply',
  'upstream_tls',
  'findings',
  'verdict_ms',
  'relay_ms',
  'total_ms',
  'tenant',
  'message',
] as const;
/** The position of an attempt in its batch comes before its columns. */
export const ATTEMPT_WIDTH = 1 + COLUMNS.length;
/** The position of its attempt, then i, recipient, code, class. */
export const RECIPIENT_WIDTH = 5;
const [AT, ID, SOURCE, SOURCE_KEY] = (['at', 'id', 'source', 'source_key'] as const).map(
  (name) => 1 + COLUMNS.indexOf(name),
) as [number, number, number, number];
const MAX_KEYS = 10_000;

export type Value = string | number | null | Buffer;

export type Batch = {
  readonly count: number;
  /** ATTEMPT_WIDTH for each, one after the other; `source_key` is still null */
  readonly attempts: readonly Value[];
  /** RECIPIENT_WIDTH for each */
  readonly recipients: readonly Value[];
};

export function batchOf(of: readonly Attempt[]): Batch {
  const attempts: Value[] = [];
  const recipients: Value[] = [];
  for (let position = 0; position < of.length; position++) {
    const a = of[position] as Attempt;
    // biome-ignore format: in the order of COLUMNS
    attempts.push(
      position, a.at, a.id, a.session, a.worker, a.network, a.mode, a.subscriber ?? null, a.source, null,
      a.sourcePort, a.destination, a.destinationPort, a.helo ?? null, a.esmtp ? 1 : 0, a.tls?.version ?? null,
      a.tls?.cipher ?? null, a.tls?.name ?? null, a.identity ?? null, a.sender ?? null, a.recipientsOmitted ?? 0, a.sizeBytes,
      a.verdict, a.class, a.wouldBe ?? null, a.reply, a.egress, a.upstream ?? null, a.upstreamReply ?? null, a.upstreamTls ?? null,
      a.findings.length > 0 ? JSON.stringify(a.findings) : null, a.verdictMs ?? null, a.relayMs ?? null, a.totalMs,
      a.tenant ?? null, a.messageHash ?? null,
    );
    for (let i = 0; i < a.recipients.length; i++) {
      const { recipient, code, class: of } = a.recipients[i] as RecipientOutcome;
      recipients.push(position, i, recipient, code, of);
    }
  }
  return { count: of.length, attempts, recipients };
}

/** Several as one, in the order given; `texts` are the JSON of batches. */
export function batchFrom(texts: readonly string[]): Batch {
  const all = texts.map((text) => JSON.parse(text) as Batch);
  if (all.length === 1) return all[0] as Batch;
  let count = 0;
  const attempts: Value[] = [];
  const recipients: Value[] = [];
  for (const batch of all) {
    add(attempts, batch.attempts, ATTEMPT_WIDTH, count);
    add(recipients, batch.recipients, RECIPIENT_WIDTH, count);
    count += batch.count;
  }
  return { count, attempts, recipients };
}

/** The position that each begins with is counted on from `from`. */
function add(to: Value[], values: readonly Value[], width: number, from: number): void {
  for (let at = 0; at < values.length; at++)
    to.push(at % width === 0 ? (values[at] as number) + from : (values[at] as Value));
}

/** What `keep` says of each, by its position. */
export function pick(batch: Batch, keep: (position: number) => boolean): Batch {
  const now = new Map<number, number>();
  for (let position = 0; position < batch.count; position++) if (keep(position)) now.set(position, now.size);
  const kept = (values: readonly Value[], width: number): Value[] => {
    const all: Value[] = [];
    for (let at = 0; at < values.length; at += width) {
      const position = now.get(values[at] as number);
      if (position !== undefined) all.push(position, ...values.slice(at + 1, at + width));
    }
    return all;
  };
  return {
    count: now.size,
    attempts: kept(batch.attempts, ATTEMPT_WIDTH),
    recipients: kept(batch.recipients, RECIPIENT_WIDTH),
  };
}

export function idOf({ attempts }: Batch, position: number): string {
  return attempts[position * ATTEMPT_WIDTH + ID] as string;
}

export function atOf({ attempts }: Batch, position: number): number {
  return attempts[position * ATTEMPT_WIDTH + AT] as number;
}

/** The values of all attempts with the keys of their sources. */
export function withKeys({ attempts }: Batch): Value[] {
  const values = [...attempts];
  for (let at = 0; at < values.length; at += ATTEMPT_WIDTH)
    values[at + SOURCE_KEY] = cachedKey(values[at + SOURCE] as string);
  return values;
}

const keys = new Map<string, Buffer>();
function cachedKey(source: string): Buffer {
  let key = keys.get(source);
  if (!key) {
    if (keys.size >= MAX_KEYS) keys.clear();
    keys.set(source, (key = sourceKey(source)));
  }
  return key;
}

/** An address as octets that sort: family, then the address; what is no address sorts last, as its text. */
export function sourceKey(text: string): Buffer {
  const address = parseAddress(text);
  return address ? keyOf(address.family, address.value) : Buffer.concat([Buffer.of(0xff), Buffer.from(text)]);
}

export function keyOf(family: 4 | 6, value: bigint): Buffer {
  return Buffer.from(`0${family}${value.toString(16).padStart(family === 4 ? 8 : 32, '0')}`, 'hex');
}

export type Row = {
  readonly n: number;
  readonly at: number;
  readonly id: string;
  readonly session: string;
  readonly worker: number;
  readonly network: string;
  readonly mode: string;
  readonly subscriber: string | null;
  readonly source: string;
  readonly source_port: number;
  readonly destination: string;
  readonly destination_port: number;
  readonly helo: string | null;
  readonly esmtp: number;
  readonly tls_version: string | null;
  readonly tls_cipher: string | null;
  readonly tls_name: string | null;
  readonly identity: string | null;
  readonly sender: string | null;
  readonly omitted: number;
  readonly size: number;
  readonly verdict: 'accept' | 'defer' | 'reject';
  readonly class: Class;
  readonly would_be: Class | null;
  readonly reply: string;
  readonly egress: 'smarthost' | 'preserve';
  readonly upstream: string | null;
  readonly upstream_reply: string | null;
  readonly upstream_tls: string | null;
  readonly findings: string | null;
  readonly verdict_ms: number | null;
  readonly relay_ms: number | null;
  readonly total_ms: number;
  readonly tenant: string | null;
  readonly message: string | null;
};

export function attemptOf(row: Row, recipients: readonly RecipientOutcome[]): Attempt {
  return {
    kind: 'attempt',
    id: row.id,
    session: row.session,
    at: row.at,
    worker: row.worker,
    network: row.network,
    mode: row.mode,
    subscriber: row.subscriber ?? undefined,
    ...(row.tenant !== null && { tenant: row.tenant }),
    ...(row.message !== null && { messageHash: row.message }),
    source: row.source,
    sourcePort: row.source_port,
    destination: row.destination,
    destinationPort: row.destination_port,
    helo: row.helo ?? undefined,
    esmtp: row.esmtp === 1,
    tls:
      row.tls_version === null
        ? undefined
        : { version: row.tls_version, cipher: row.tls_cipher ?? '', name: row.tls_name ?? undefined },
    identity: row.identity ?? undefined,
    sender: row.sender ?? undefined,
    recipients: recipients.map(({ recipient, code, class: of }) => ({ recipient, code, class: of })),
    ...(row.omitted > 0 ? { recipientsOmitted: row.omitted } : {}),
    sizeBytes: row.size,
    verdict: row.verdict,
    class: row.class,
    wouldBe: row.would_be ?? undefined,
    reply: row.reply,
    egress: row.egress,
    upstream: row.upstream ?? undefined,
    upstreamReply: row.upstream_reply ?? undefined,
    upstreamTls: row.upstream_tls ?? undefined,
    findings: row.findings === null ? [] : (JSON.parse(row.findings) as readonly Finding[]),
    verdictMs: row.verdict_ms ?? undefined,
    relayMs: row.relay_ms ?? undefined,
    totalMs: row.total_ms,
  };
}
