import { parseArgs } from 'node:util';
import { safeJson } from '../kit/log.ts';
import type { Status } from '../ledger/language.ts';
import { ask, askHelp, askOptions } from './ask.ts';
import type { Command } from './command.ts';
import { stepsTable } from './mode.ts';
import { age, bytes, counted, shown, table, time } from './show.ts';

export const command: Command = {
  name: 'status',
  summary: 'show what runs, what is open, and every way round',
  help: `Usage: postern status [--json] [--config FILE | --run-dir DIR]

Shows whether connections are being intercepted, every way round the gateway, networks, when each of their prefixes was
last seen intercepted, workers, servers, what the kernel refused, locks and the journal.

  --json          the same for programs
${askHelp}

Exit status: 0 intercepting; 1 not, or an interface of intercept.inside does not exist, or the keeper cannot be asked.

Example: postern status --config /etc/postern/postern.toml
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: { ...askOptions, json: { type: 'boolean', default: false } },
    });
    const status = (await ask('status', values, { of: 'status' }, io)) as Status | undefined;
    if (status === undefined) return 1;
    io.out(values.json ? safeJson(status) : statusText(status, io.isTerminal));
    return status.intercepting && status.waysRound.missingInterfaces.length === 0 ? 0 : 1;
  },
};

export function statusText(status: Status, colours: boolean): string {
  const bold = (text: string): string => (colours ? `\x1b[1m${text}\x1b[0m` : text);
  const loud = (text: string): string => (colours ? `\x1b[1;31m${text}\x1b[0m` : text);
  const parts = [
    `Postern ${shown(status.version)} on ${shown(status.name)}, up ${age(status.uptimeMs)}\n` +
      (status.intercepting
        ? `${bold('Intercepting: yes')}${status.kernel ? `, seen by the guard since ${time(status.kernel.aliveSince)}` : ''}\n`
        : `${loud('Intercepting: NO')}: ${shown(status.problem ?? 'no reason given')}\n`),
    waysRound(status, bold, loud),
    table(
      ['NETWORK', 'MODE', 'FAIL', 'REFUSE', 'EGRESS', 'MAX', 'PREFIXES'],
      status.networks.map((one) => [
        one.name,
        one.mode,
        intercepts(one.mode) ? one.fail : '-',
        one.refuse,
        one.egress,
        intercepts(one.mode) ? String(one.maxConnections) : '-',
        one.prefixes.join(' '),
      ]),
    ),
    seen(status, loud),
    status.subscribers > 0 ? `Subscribers configured: ${status.subscribers}\n` : '',
    status.steps.length > 0
      ? `In another mode than the configuration says ("postern mode"):\n${stepsTable(status.steps)}`
      : '',
    workers(status),
    servers(status),
    services(status),
    kernel(status),
    `Locks: ${status.locks}${status.locks > 0 ? ' ("postern locks" lists them)' : ''}\n${journal(status, loud)}` +
      (status.configErrors > 0
        ? `${loud(`Configuration: ${counted(status.configErrors, 'reload was refused', 'reloads were refused')}`)}; the log says why\n`
        : ''),
  ];
  return parts.filter((part) => part !== '').join('\n');
}

/** more are in --json */
const MOST_PREFIXES = 20;

/** Those that were never seen first, then those that have been silent for longest. */
function seen({ prefixes }: Status, loud: (text: string) => string): string {
  if (prefixes.length === 0) return '';
  const sorted = [...prefixes].sort((a, b) => (a.lastSeenAt ?? 0) - (b.lastSeenAt ?? 0));
  const never = prefixes.filter(({ lastSeenAt }) => lastSeenAt === undefined).length;
  return (
    (never > 0
      ? `${loud(`Never seen intercepted: ${counted(never, 'prefix', 'prefixes')}`)}; silent hosts, or packets that do not come here\n`
      : '') +
    table(
      ['PREFIX', 'NETWORK', 'LAST INTERCEPTED'],
      sorted
        .slice(0, MOST_PREFIXES)
        .map(({ prefix, network, lastSeenAt }) => [
          prefix,
          network,
          lastSeenAt === undefined ? 'never' : time(lastSeenAt),
        ]),
    ) +
    (prefixes.length > MOST_PREFIXES
      ? `and ${prefixes.length - MOST_PREFIXES} more, seen later ("--json" has all)\n`
      : '')
  );
}

/** Other modes hand nothing to a worker: what a dead one would mean, and how many connections it takes, is not asked. */
function intercepts(mode: string): boolean {
  return mode === 'enforce' || mode === 'observe';
}

function waysRound(
  { waysRound: ways }: Status,
  bold: (text: string) => string,
  loud: (text: string) => string,
): string {
  const lines = [
    ...ways.missingInterfaces.map(
      (name) => `interface ${name} does not exist: what comes in elsewhere is neither intercepted nor refused`,
    ),
    ...ways.exemptNetworks.map(
      ({ name, prefixes }) => `network ${name} is exempt, not intercepted: ${prefixes.join(' ')}`,
    ),
    ...ways.exemptTo.map(
      ({ prefix, packets, until, reason }) =>
        `destination ${prefix} is ${until === undefined ? 'never intercepted' : `not intercepted until ${time(until)}`}` +
        `${reason === undefined ? '' : `: ${reason}`}${packets === undefined ? '' : ` (${counted(packets, 'packet', 'packets')} so far)`}`,
    ),
    ...ways.failOpen.map((name) => `network ${name} passes untouched when no worker answers (fail = "open")`),
    ...(ways.unread > 0
      ? [
          `${counted(ways.unread, 'host that verifies is', 'hosts that verify are')} carried unread, within limits ("postern verifying")`,
        ]
      : []),
  ];
  if (lines.length === 0) return `${bold('Ways round: none')}\n`;
  return `${loud('Ways round:')}\n${lines.map((line) => `  ! ${shown(line)}\n`).join('')}`;
}

function workers({ workers: { configured, connected }, sessionsOpen, held }: Status): string {
  const list = connected
    .map(({ worker, sinceMs, open }) => `${worker} (${open} open, connected ${age(sinceMs)})`)
    .join(', ');
  return (
    `Workers: ${connected.length} of ${configured}${list === '' ? '' : `: ${list}`}\n` +
    `Sessions open: ${sessionsOpen}; counted connections: ${held.connections} from ${counted(held.sources, 'source', 'sources')}\n`
  );
}

function servers({ upstream }: Status): string {
  if (upstream.length === 0) return '';
  return table(
    ['SERVER', 'STATE', 'CONNECTIONS', 'REASON'],
    upstream.map(({ server, up, of, connections, reason }) => [
      server,
      of === 0 ? 'not known yet' : up === of ? 'up' : up === 0 ? 'DOWN' : `up for ${up} of ${of} workers`,
      String(connections),
      reason ?? '',
    ]),
  );
}

function services({ services: all }: Status): string {
  if (all.length === 0) return '';
  return table(
    ['SERVICE', 'STATE', 'DEFINITIONS'],
    all.map(({ service, up, of, definitionsAt }) => [
      service,
      up === of ? 'asked' : up === 0 ? 'LEFT ALONE' : `left alone by ${of - up} of ${of} workers`,
      definitionsAt === undefined ? '' : `of ${time(definitionsAt)}`,
    ]),
  );
}

function kernel({ kernel: report }: Status): string {
  if (!report) return '';
  const refused = report.refused.filter(({ packets }) => packets > 0);
  const parts = [`Rules repaired: ${report.repaired}\n`];
  if (refused.length === 0) parts.push('Refused by the kernel: nothing so far\n');
  else {
    parts.push(
      'Refused by the kernel:\n' +
        table(
          ['NETWORK', 'REASON', 'PACKETS'],
          refused.map(({ network, reason, packets }) => [network, reason, String(packets)]),
        ),
    );
  }
  if (report.topRefused.length > 0) {
    parts.push(
      'Refused most:\n' +
        table(
          ['SOURCE', 'PACKETS'],
          report.topRefused.slice(0, 10).map(({ source, packets }) => [source, String(packets)]),
        ),
    );
  }
  return parts.join('');
}

function journal({ journal: it }: Status, loud: (text: string) => string): string {
  const state = it.ok ? 'Journal: ok' : loud(`Journal: NOT WRITTEN: ${shown(it.problem ?? 'no reason given')}`);
  const facts = [
    bytes(it.sizeBytes),
    it.oldest === undefined ? 'empty' : `from ${time(it.oldest)}`,
    `${it.written} written since the start`,
    ...(it.waiting > 0 ? [`${it.waiting} waiting`] : []),
  ];
  const lost = it.dropped > 0 ? `; ${loud(`${it.dropped} LOST`)}` : '';
  return `${state}; ${facts.join(', ')}${lost}\n`;
}
