/**
 * Messages in files through the filters of a configuration, with the rooms that the gateway uses: the body's scanner, the
 * filters of each stage, and the decision.
 *
 * Nobody is asked about traffic: locks, limits, and filters that ask the keeper know what a single file cannot tell.
 */
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import type { Config } from '../config/schema.ts';
import { allFilters, closeFilters, type FilterSet, filterThreads, makeFilters } from '../filter/all.ts';
import { behaviour } from '../filter/behaviour.ts';
import { campaign } from '../filter/campaign.ts';
import type { Seen } from '../filter/filter.ts';
import { Message } from '../filter/message.ts';
import { runFilters } from '../filter/run.ts';
import { type Senders, sendersOf, subjectOf } from '../identity/senders.ts';
import { systemClock } from '../kit/clock.ts';
import { silentLog } from '../kit/log.ts';
import type { Threads } from '../kit/threads.ts';
import type { Class } from '../policy/classes.ts';
import { type Decision, decideFound, type Judged } from '../policy/decide.ts';
import { decideSender } from '../policy/senders.ts';
import { BodyReader } from '../wire/body.ts';
import { SpoolBudget, SpooledBody } from '../wire/spool.ts';

export type Envelope = {
  readonly source: string;
  readonly helo: string;
  readonly sender: string;
  readonly recipients: readonly string[];
};

export type Scanned = {
  readonly network: string;
  readonly mode: string;
  readonly sizeBytes: number;
  /** its lines ended in LF, as files have them, and were ended in CRLF */
  readonly wasLf: boolean;
  /** what cannot be carried, before any filter looks */
  readonly fault: Class | undefined;
  readonly findings: readonly Seen[];
  readonly judged: readonly Judged[];
  readonly failures: readonly { readonly filter: string; readonly reason: string }[];
  readonly score: number;
  readonly decision: Decision;
};

/** These count what others do, which a file cannot tell. */
const NOT_ASKED = [campaign, behaviour];
export const NOT_ASKED_NAMES = ['campaign', 'behaviour'];
const FAULTS = {
  'line-end': 'body.line-end',
  nul: 'body.nul',
  'line-length': 'body.line-length',
  size: 'body.size',
  memory: 'limit.memory',
} as const satisfies Readonly<Record<string, Class>>;

export class Scanner {
  readonly #config: Config;
  readonly #senders: Senders;
  readonly #threads: Threads;
  readonly #filters: FilterSet;

  constructor(config: Config) {
    this.#config = config;
    this.#senders = sendersOf(config);
    this.#threads = filterThreads(config);
    const deps = {
      log: silentLog,
      clock: systemClock,
      threads: this.#threads,
      inquire: () => Promise.reject(new Error('a scan asks no keeper')),
    };
    const asked = allFilters.filter((make) => !NOT_ASKED.some((one) => one === make));
    this.#filters = makeFilters(config, deps, asked);
  }

  /** Undefined when the source is in no network. */
  async scan(file: string, envelope: Envelope): Promise<Scanned | undefined> {
    const whose = this.#senders.find(envelope.source);
    if (!whose) return undefined;
    const { network } = whose;
    const { bytes, wasLf } = toWire(await readFile(file));
    const { limits, filters } = this.#config;
    const spool = new SpooledBody(new SpoolBudget(Number.MAX_SAFE_INTEGER), limits.bodyMemory, tmpdir());
    const body = new BodyReader(spool, { maxLineBytes: limits.bodyLine, maxSizeBytes: limits.messageSize });
    body.push(bytes, 0);
    const shared = { network: network.name, mode: network.mode, sizeBytes: body.receivedBytes, wasLf };
    try {
      if (body.fault !== undefined) return { ...shared, ...NOTHING, fault: FAULTS[body.fault] };
      const connected = {
        source: envelope.source,
        subscriber: subjectOf(whose, envelope.source),
        network: network.name,
        destination: '192.0.2.25',
      };
      const { helo, sender, recipients } = envelope;
      const message = new Message(spool);
      const mail = { ...connected, helo, sender, recipients, isEarly: false, message };
      const results = [
        await runFilters(this.#filters.connect, mail, filters.deadline),
        await runFilters(this.#filters.envelope, mail, filters.deadline),
        await runFilters(network.content === 'blind' ? [] : this.#filters.body, mail, filters.deadline),
      ];
      message.close();
      const judged = results.flatMap((result) => result.judged);
      return {
        ...shared,
        fault: undefined,
        findings: results.flatMap((result) => result.findings),
        failures: results.flatMap((result) => result.failures),
        judged,
        score: judged.reduce((sum, one) => sum + one.score, 0),
        decision: decideSender(network, `<${sender}>`, () => recipients.length - 1) ?? decideFound(judged, network),
      };
    } finally {
      spool.release();
    }
  }

  async close(): Promise<void> {
    closeFilters(this.#filters);
    await this.#threads.close();
  }
}

const NO_DECISION: Decision = {
  verdict: { kind: 'accept', class: 'accepted.clean' },
  wouldBe: undefined,
  tags: [],
};
const NOTHING = { findings: [], judged: [], failures: [], score: 0, decision: NO_DECISION };

/** As a host would send it: CRLF, dots stuffed, the lone dot behind it. One that has CR already is left as it is. */
function toWire(file: Buffer): { readonly bytes: Buffer; readonly wasLf: boolean } {
  const text = file.toString('latin1');
  const wasLf = text.includes('\n') && !text.includes('\r');
  const crlf = wasLf ? text.replaceAll('\n', '\r\n') : text;
  const ended = crlf === '' || crlf.endsWith('\r\n') ? crlf : `${crlf}\r\n`;
  const stuffed = ended.replaceAll('\r\n.', '\r\n..').replace(/^\./, '..');
  return { bytes: Buffer.from(`${stuffed}.\r\n`, 'latin1'), wasLf };
}
