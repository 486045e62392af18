/** What `postern status` shows, from what the keeper holds: pure, so that every trouble can be shown in a test. */
import type { Config } from '../config/schema.ts';
import { withoutEnded } from '../guard/exempt.ts';
import { canPass, type Group, groupsOf } from '../guard/groups.ts';
import type { Worker } from '../ledger/desk.ts';
import { withSteps } from '../guard/stepped.ts';
import type { KernelReport, Status, Step } from '../ledger/language.ts';
import type { Metrics } from '../record/metrics.ts';
import type { JournalState } from '../record/query.ts';

/** The guard reports at least each second; the switch in the kernel lapses after three. */
const STALE_MS = 5_000;

export type Seen = { readonly report: KernelReport; readonly atMs: number };

export type StatusFacts = {
  readonly version: string;
  readonly config: Config;
  readonly startedAt: number;
  readonly uptimeMs: number;
  readonly nowMs: number;
  readonly kernel: Seen | undefined;
  readonly kernelAgeMs: number | undefined;
  readonly workers: readonly Worker[];
  readonly metrics: Pick<Metrics, 'upstream' | 'services' | 'sessionsOpen' | 'workers'>;
  readonly held: Status['held'];
  readonly locks: number;
  /** hosts that verify, each with a server */
  readonly verifying: number;
  /** when a host of this prefix was last intercepted */
  readonly lastSeenAt: (prefix: string) => number | undefined;
  readonly steps: readonly Step[];
  readonly journal: JournalState;
  readonly configErrors: number;
};

export function statusOf(facts: StatusFacts): Status {
  const { config, kernel, metrics } = facts;
  const problem = problemOf(facts);
  const groups = groupsOf(withSteps(config, facts.steps, facts.nowMs));
  const packetsTo = new Map(kernel?.report.exemptTo.map(({ prefix, packets }) => [prefix, packets]));
  return {
    version: facts.version,
    name: config.gateway.name,
    startedAt: facts.startedAt,
    uptimeMs: facts.uptimeMs,
    intercepting: problem === undefined,
    problem,
    subscribers: config.subscriber.length,
    networks: config.network.map((network) => ({
      name: network.name,
      mode: network.mode,
      fail: network.fail,
      refuse: network.refuse,
      egress: network.egress,
      prefixes: network.prefixes.map(({ text }) => text),
      maxConnections: network.maxConnections,
    })),
    prefixes: config.network.flatMap(({ name, mode, prefixes }) =>
      mode === 'enforce' || mode === 'observe'
        ? prefixes.map(({ text }) => ({ prefix: text, network: name, lastSeenAt: facts.lastSeenAt(text) }))
        : [],
    ),
    kernel: kernel?.report,
    kernelAgeMs: facts.kernelAgeMs,
    workers: {
      configured: config.gateway.workers,
      connected: facts.workers.map(({ worker, since }) => ({
        worker,
        sinceMs: Math.max(0, facts.nowMs - since),
        open: metrics.workers.get(worker)?.open ?? 0,
      })),
    },
    upstream: metrics.upstream(),
    services: metrics.services(),
    sessionsOpen: metrics.sessionsOpen(),
    held: facts.held,
    locks: facts.locks,
    steps: facts.steps,
    journal: facts.journal,
    configErrors: facts.configErrors,
    waysRound: {
      missingInterfaces: missingOf(kernel?.report),
      exemptNetworks: groups
        .filter(({ mode }) => mode === 'exempt')
        .map((group) => ({ name: nameOf(group), prefixes: group.prefixes.map(({ text }) => text) })),
      exemptTo: withoutEnded(config, facts.nowMs).exemptTo.flatMap(({ prefixes, until, reason }) =>
        prefixes.map(({ text }) => ({ prefix: text, packets: packetsTo.get(text), until, reason })),
      ),
      failOpen: groups.filter((group) => canPass(group) && group.mode !== 'exempt').map(nameOf),
      unread: [...config.network, ...config.subscriber].some(({ verifying }) => verifying === 'pass')
        ? facts.verifying
        : 0,
    },
  };
}

/** Subscribers that the kernel treats otherwise than their network are told of apart from it. */
function nameOf({ id, network }: Group): string {
  return id === network ? network : `${network} (subscribers)`;
}

function problemOf({ kernel, kernelAgeMs = 0 }: StatusFacts): string | undefined {
  if (!kernel) return 'the guard has not reported yet; is it running?';
  if (kernelAgeMs > STALE_MS)
    return `the guard has been silent for ${Math.round(kernelAgeMs / 1000)} s; the kernel's rules stand, and networks behave as their "fail" says`;
  if (!kernel.report.alive)
    return 'no worker answers the guard: networks with fail = "closed" are refused, those with fail = "open" pass untouched';
  const missing = missingOf(kernel.report);
  if (missing.length > 0 && missing.length === kernel.report.inside.length)
    return `no interface of intercept.inside exists (${missing.join(', ')}): nothing is intercepted; "ip link" lists those that do`;
  return undefined;
}

function missingOf(report: KernelReport | undefined): readonly string[] {
  return (report?.inside ?? []).filter(({ present }) => !present).map((one) => one.interface);
}
