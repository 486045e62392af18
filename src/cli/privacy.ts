/** `postern privacy`: what is kept of whom, why and how long, for whoever answers for the protection of data. */
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { type Command, DEFAULT_CONFIG } from './command.ts';
import { age, bytes, table } from './show.ts';

const KEPT = {
  full: 'as they are',
  hash: 'as a hash with a key of this gateway: the same address gives the same word, and nobody reads it back without the key',
  none: 'not at all',
} as const;

export const command: Command = {
  name: 'privacy',
  summary: 'say what is kept of whom, why and how long, as the configuration stands',
  help: `Usage: postern privacy [--config FILE]

One page for whoever answers for the protection of data: what the gateway reads, what it keeps of an attempt to send in each
network, why, where and how long, who else is asked, and who may look. It reads the configuration, not what runs.

  --config FILE   default ${DEFAULT_CONFIG}

Example: postern privacy > what-is-kept.txt
`,
  async run(args, io) {
    const { values } = parseArgs({ args: [...args], options: { config: { type: 'string', default: DEFAULT_CONFIG } } });
    const loaded = await loadConfig(values.config, {});
    if (!loaded.ok) {
      for (const { message } of loaded.errors) io.err(message);
      return 1;
    }
    io.out(privacyText(loaded.config));
    return 0;
  },
};

export function privacyText(config: Config): string {
  const { gateway, journal } = config;
  const stateFile = (name: string): string => `${gateway.stateDir}/${name}`;
  const life = `at most ${age(journal.keep)}, fewer when it reaches ${bytes(journal.maxSize)}`;
  return [
    `What ${gateway.name} reads and keeps\n`,
    section('Content of messages', [
      'While a message passes through it is in memory, or in a file without a name on this machine; both are gone with the session.',
      'No content is kept: no text, no subject, no attachment. Where a filter finds something, a few words of evidence are (below).',
      ...outside(config),
      ...reported(config),
    ]),
    section(
      'Networks',
      table(
        ['NETWORK', 'MODE', 'READ BY FILTERS', 'ADDRESSES OF MAIL ARE KEPT'],
        config.network.map(({ name, mode, content, log }) => [
          name,
          mode,
          mode === 'exempt' ? 'not intercepted' : content === 'blind' ? 'no' : 'yes',
          { full: 'as they are', hash: 'as a keyed hash', none: 'not at all' }[log],
        ]),
      )
        .trimEnd()
        .split('\n'),
    ),
    ...subscribersOf(config),
    section('Of each attempt to send', [
      `Kept in ${stateFile('journal.db')}, ${life}${journal.lines === 'stdout' ? "; and as a line on standard output, which the system's log keeps as long as it is set to" : ''}.`,
      'Why: to answer who sent, why a message was refused, and who abuses the network (limits, locks, complaints).',
      'Time, address and port of the host and of the server that it called, name in EHLO, network and subscriber, size, verdict and class, durations, TLS version.',
      `Sender, recipients and identity: with log = "full" ${KEPT.full}; with "hash" ${KEPT.hash}; with "none" ${KEPT.none}.`,
      'Replies of servers and evidence of filters, which can quote an address: with "full" whole, else the codes alone.',
      ...told(config),
    ]),
    section('Besides', [
      `${stateFile('counters.jsonl')}, ${stateFile('quotas.jsonl')}: how much of its limits a subscriber or identity has used, and what it has earned.`,
      `${stateFile('locks.json')}, ${stateFile('lock-history.jsonl')}, ${stateFile('steps.json')}, ${stateFile('step-history.jsonl')}: who was locked or moved to another mode, why and by whom.`,
      `${stateFile('sightings.json')}: when a host of each configured prefix was last seen; no host by itself.`,
      `${stateFile('complaints.jsonl')}: complaints that came in, of which message and host, the last 10,000; nothing of their text and no address of mail.`,
      `${stateFile('verifying.json')}: which hosts did not accept our certificate, for which server; ${age(config.tls.verifyingFor)} each.`,
      `${stateFile('people.json')}: who may use the panel, without passwords; ${stateFile('audit.jsonl')}: who looked at what, at most twice 10 MiB.`,
      `${stateFile('privacy.key')}, ${stateFile('ca.pem')}: keys of this gateway; nobody's data.`,
      `${stateFile('candidate.toml')}, ${stateFile('wish.json')}: the text of a configuration while it is looked at or applied in the panel.`,
      'Metrics have no address of anybody: networks, classes and servers alone.',
    ]),
    section('Who may look', [
      `Users of the panel (postern user list), and on this machine root and the group postern. Each look at messages is written down with who and when.`,
    ]),
  ].join('');
}

function section(title: string, lines: readonly string[]): string {
  return `\n${title}\n${lines.map((line) => `  ${line}\n`).join('')}`;
}

/** Who gets something of a message besides the server that it is for. */
function outside(config: Config): readonly string[] {
  const { rspamd, clamd, urlDns, auth, resolver } = config.filters;
  const names = resolver.length > 0 ? resolver.map(({ text }) => text).join(', ') : "the system's";
  return [
    ...(rspamd.server
      ? [`Rspamd at ${rspamd.server.text} is given the message, sender, recipients and the host's address.`]
      : []),
    ...(clamd.server ? [`ClamAV at ${clamd.server.text} is given the message.`] : []),
    ...(urlDns.lists.length > 0
      ? [
          `Hosts in links are looked up in ${urlDns.lists.map((list) => list.split(' ')[0]).join(', ')}, by name servers: ${names}.`,
        ]
      : []),
    ...(auth.enabled ? [`Domains of senders and signatures are looked up, by name servers: ${names}.`] : []),
  ];
}

/** Who is sent what of refused messages. */
function reported({ reports, network, subscriber }: Config): readonly string[] {
  if (reports.from === undefined) return [];
  const shown = network.map(({ name, report, log }) => `${name} ${log === 'full' ? report : 'none of it'}`);
  const others = subscriber.filter(({ report }) => report !== undefined).length;
  return [
    `Of refused spam, virus and fraud the contact is sent, by mail through the smarthost: ${shown.join(', ')}${others > 0 ? `; ${others} subscribers have a setting of their own` : ''}.`,
  ];
}

/** Who else is told of attempts, with addresses as the journal has them. */
function told({ syslog: { server, transport, fields }, webhook }: Config): readonly string[] {
  return [
    ...(server ? [`The syslog server at ${server.text} (${transport}) is told of each: ${fields.join(', ')}.`] : []),
    ...webhook
      .filter(({ events }) => events.includes('refused'))
      .map(
        ({ name, url }) =>
          `The program "${name}" at ${hostOf(url)} is told all of this of each that is put off or refused.`,
      ),
    ...webhook
      .filter(({ events }) => events.some((each) => each !== 'refused'))
      .map(
        ({ name, url }) =>
          `The program "${name}" at ${hostOf(url)} is told who was locked, moved or over a limit: address, subscriber and identity, whatever "log" says.`,
      ),
  ];
}

function hostOf(url: string): string {
  return URL.parse(url)?.host ?? url;
}

function subscribersOf({ subscriber }: Config): readonly string[] {
  const other = subscriber.filter(({ log, content }) => log !== undefined || content !== undefined);
  if (other.length === 0) return [];
  const shownFirst = other.slice(0, 20);
  return [
    section('Subscribers with a setting of their own', [
      ...shownFirst.map(({ name, log, content }) =>
        [`${name}:`, log === undefined ? '' : `log = "${log}"`, content === undefined ? '' : `content = "${content}"`]
          .filter(Boolean)
          .join(' '),
      ),
      ...(other.length > shownFirst.length ? [`… and ${other.length - shownFirst.length} more`] : []),
    ]),
  ];
}
