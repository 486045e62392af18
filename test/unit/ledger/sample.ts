/** Events and reports as a gateway makes them, for the tests of this room and of record/. */
import type { KernelReport } from '../../../src/ledger/language.ts';
import type { Attempt, SessionCounts } from '../../../src/record/events.ts';

export function attempt(change: Partial<Attempt> = {}): Attempt {
  return {
    kind: 'attempt',
    id: '01HZX3V9Q00000A1',
    session: '01HZX3V9P00000B2',
    at: 1_700_000_000_000,
    worker: 1,
    network: 'customers',
    mode: 'enforce',
    subscriber: undefined,
    source: '198.51.100.7',
    sourcePort: 40_001,
    destination: '203.0.113.25',
    destinationPort: 25,
    helo: 'host.example',
    esmtp: true,
    tls: undefined,
    identity: undefined,
    sender: '<alice@a.example>',
    recipients: [{ recipient: '<bob@b.example>', code: 250, class: 'accepted.clean' }],
    sizeBytes: 1234,
    verdict: 'accept',
    class: 'accepted.clean',
    wouldBe: undefined,
    reply: '250 2.0.0 Ok: queued as 4XYZ',
    egress: 'smarthost',
    upstream: 'smtp.example.net:587',
    upstreamReply: '250 2.0.0 Ok: queued as 4XYZ',
    upstreamTls: 'TLSv1.3',
    findings: [],
    verdictMs: 12,
    relayMs: 48,
    totalMs: 140,
    ...change,
  };
}

export function counts(change: Partial<SessionCounts> = {}): SessionCounts {
  return {
    kind: 'sessions',
    worker: 1,
    opened: { customers: 1 },
    open: 1,
    preserved: 0,
    opaque: 0,
    upstream: [],
    dropped: 0,
    ...change,
  };
}

export function kernelReport(change: Partial<KernelReport> = {}): KernelReport {
  return {
    alive: true,
    aliveSince: 1_700_000_000_000,
    repaired: 0,
    inside: [{ interface: 'lan0', present: true }],
    refused: [],
    exemptTo: [],
    topRefused: [],
    workers: [{ worker: 1, answeredMs: 3, failures: 0 }],
    configErrors: 0,
    ...change,
  };
}

/** The value as it comes out of the socket. */
export function throughJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
