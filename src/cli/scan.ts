/**
 * `postern scan`: what would become of these messages, and why; how the filters do on a tree of labelled ones; and what the
 * rules would have matched of late.
 */
import { globSync } from 'node:fs';
import { relative, sep } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { type LogAnswer, MAX_LOG_ROWS } from '../record/query.ts';
import { refusal } from '../smtp/reply.ts';
import { ask, parseTime, whoAmI } from './ask.ts';
import { type Command, DEFAULT_CONFIG, type Io, UsageError } from './command.ts';
import { hasAddresses, tryRules } from './scan-journal.ts';
import { type Envelope, NOT_ASKED_NAMES, type Scanned, Scanner } from './scanner.ts';
import { shown, table } from './show.ts';

const MAX_LISTED = 20;

export const command: Command = {
  name: 'scan',
  summary: 'say what would happen to a message in a file, and why',
  help: `Usage: postern scan [OPTIONS] FILE...
       postern scan [OPTIONS] --corpus DIR
       postern scan [--config FILE] [--since TIME] --journal

Puts messages through the filters of a configuration as the gateway does, and tells for each what was found, what the
scores come to, and what the host would be told. Nothing is sent. Lines that end in LF, as files have them, are ended in
CRLF first. What needs the traffic is left out: locks, limits, and the filters ${NOT_ASKED_NAMES.join(' and ')}.

  --config FILE     default ${DEFAULT_CONFIG}
  --source ADDRESS  of the host, for its network's settings; default: the first address of the first network
  --helo NAME       default host.example
  --sender ADDRESS  of the envelope; default sender@host.example
  --to ADDRESS      a recipient, more than once for more; default recipient@example.com
  --corpus DIR      all files below it; those below a directory "ham" are good mail, all others bad. Tells for each
                    filter how many good ones it would refuse by itself (they come first) and how many bad ones
  --journal         the rules on sender, recipient and HELO alone, on what the journal has: how many attempts each
                    would have matched, and how many of those were accepted
  --since TIME      of the journal, from then: ago such as 2h or 3d, or a time; default 24h

Exit status: 0 done; 1 a file cannot be scanned, or with --corpus a good message would be refused.

Examples: postern scan --source 198.51.100.7 message.eml
          postern scan --config new.toml --corpus ./corpus
          postern scan --config new.toml --journal --since 3d
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        config: { type: 'string', default: DEFAULT_CONFIG },
        source: { type: 'string' },
        helo: { type: 'string', default: 'host.example' },
        sender: { type: 'string', default: 'sender@host.example' },
        to: { type: 'string', multiple: true, default: ['recipient@example.com'] },
        corpus: { type: 'string' },
        journal: { type: 'boolean', default: false },
        since: { type: 'string', default: '24h' },
      },
    });
    const asked = [positionals.length > 0, values.corpus !== undefined, values.journal].filter(Boolean);
    if (asked.length !== 1) throw new UsageError('name files, or a directory with --corpus, or say --journal');
    const since = parseTime('--since', values.since, Date.now());
    const loaded = await loadConfig(values.config, {});
    if (!loaded.ok) {
      for (const { message } of loaded.errors) io.err(message);
      return 1;
    }
    const { config } = loaded;
    if (values.journal) return journal(config, values.config, since, io);
    const [network] = config.network;
    const source = values.source ?? network?.prefixes[0]?.text.split('/')[0] ?? '';
    const envelope: Envelope = { source, helo: values.helo, sender: values.sender, recipients: values.to };
    const scanner = new Scanner(config);
    try {
      if (values.corpus !== undefined) return await corpus(scanner, envelope, values.corpus, io);
      return await pages(scanner, envelope, positionals, config.gateway.helpUrl, io);
    } finally {
      await scanner.close();
    }
  },
};

async function pages(
  scanner: Scanner,
  envelope: Envelope,
  files: readonly string[],
  helpUrl: string,
  io: Io,
): Promise<number> {
  let status = 0;
  for (const file of files) {
    const scanned = await attempt(scanner, file, envelope, io);
    if (scanned) io.out(page(file, envelope, scanned, helpUrl));
    else status = 1;
  }
  return status;
}

/** Undefined when it cannot be scanned, which has been said. */
async function attempt(scanner: Scanner, file: string, envelope: Envelope, io: Io): Promise<Scanned | undefined> {
  try {
    const scanned = await scanner.scan(file, envelope);
    if (!scanned) io.err(`${shown(envelope.source)} is in no network of this configuration: --source ADDRESS`);
    return scanned;
  } catch (error) {
    io.err(`${shown(file)}: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

function page(file: string, envelope: Envelope, scanned: Scanned, helpUrl: string): string {
  const { network, mode, sizeBytes, wasLf, fault, findings, failures, judged, score, decision } = scanned;
  const lines = [
    file,
    `  from ${envelope.source} (network ${network}, mode ${mode}), HELO ${envelope.helo}, sender ${envelope.sender || 'the null sender'}`,
    `  to ${envelope.recipients.join(', ')}; ${sizeBytes} octets${wasLf ? ', lines ended anew' : ''}`,
  ];
  if (fault !== undefined) {
    lines.push(`  it cannot be carried: ${refusal(fault, 'ID', helpUrl).bytes.toString('latin1').trimEnd()}`);
    return `${lines.map(shown).join('\n')}\n`;
  }
  for (const { filter, name, score: one, evidence, class: of } of findings) {
    const action = judged.find(({ by, class: seen }) => by === filter && seen === of)?.action ?? '';
    lines.push(`  found: ${filter} ${name}, score ${one}, ${of} -> ${action}: ${evidence}`);
  }
  for (const { filter, reason } of failures) {
    const action = judged.find(({ by, class: seen }) => by === filter && seen === 'error.filter')?.action ?? '';
    lines.push(`  failed: ${filter} -> ${action}: ${reason}`);
  }
  if (findings.length === 0 && failures.length === 0) lines.push('  nothing was found');
  lines.push(`  the scores come to ${Math.round(score * 1000) / 1000}`);
  const { verdict, wouldBe, tags } = decision;
  if (verdict.kind === 'accept') {
    lines.push('  it would go on to the next server, whose reply is the reply');
    if (wouldBe !== undefined) lines.push(`  mode "enforce" would refuse it: ${wouldBe}`);
    for (const tag of tags) lines.push(`  with X-Postern-Tag: ${tag}; id=ID`);
  } else {
    const said = refusal(verdict.class, 'ID', helpUrl, { as: verdict.kind }).bytes.toString('latin1').trimEnd();
    lines.push(`  the host would be told: ${said}`);
  }
  return `${lines.map(shown).join('\n')}\n`;
}

async function journal(config: Config, path: string, since: number, io: Io): Promise<number> {
  const question = { of: 'log', filter: { since, limit: MAX_LOG_ROWS }, who: whoAmI() } as const;
  const answer = (await ask('scan', { config: path }, question, io)) as LogAnswer | undefined;
  if (answer === undefined) return 1;
  const kept = answer.rows.filter(hasAddresses);
  const rows = (await tryRules(config, kept)).map(({ rule, missing, matched }) => {
    if (missing.length > 0) return [rule.name, rule.action, '', '', `looks at ${missing.join(', ')}: try it on files`];
    const accepted = matched.filter(({ verdict }) => verdict === 'accept');
    return [rule.name, rule.action, String(matched.length), String(accepted.length), accepted[0]?.id ?? ''];
  });
  io.out(table(['rule', 'action', 'matched', 'of these accepted', 'the last of these'], rows));
  io.out(
    `${kept.length} messages of the journal; ${answer.rows.length - kept.length} attempts had no address that is kept.`,
  );
  if (answer.more) io.err(`only the newest ${answer.rows.length} attempts were tried: --since`);
  return 0;
}

type Count = { found: number; refused: number };
const none = (): Count => ({ found: 0, refused: 0 });

async function corpus(scanner: Scanner, envelope: Envelope, directory: string, io: Io): Promise<number> {
  const files = globSync('**/*', { cwd: directory, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}${sep}${entry.name}`)
    .sort();
  const byFilter = new Map<string, { ham: Count; spam: Count }>();
  const wrong: string[] = [];
  const totals = { ham: none(), spam: none() };
  let unread = 0;
  for (const file of files) {
    const label = relative(directory, file).split(sep).slice(0, -1).includes('ham') ? 'ham' : 'spam';
    const scanned = await attempt(scanner, file, envelope, io);
    if (!scanned) {
      unread++;
      continue;
    }
    totals[label].found++;
    const { verdict, wouldBe } = scanned.decision;
    const isRefused = scanned.fault !== undefined || verdict.kind !== 'accept' || wouldBe !== undefined;
    if (isRefused) totals[label].refused++;
    const refusing = new Set<string>(scanned.fault === undefined ? [] : ['(cannot be carried)']);
    for (const { by, action } of scanned.judged) if (action === 'defer' || action === 'reject') refusing.add(by);
    for (const name of new Set([...scanned.judged.map(({ by }) => by), ...refusing])) {
      const counts = byFilter.get(name) ?? { ham: none(), spam: none() };
      byFilter.set(name, counts);
      counts[label].found++;
      if (refusing.has(name)) counts[label].refused++;
    }
    if (label === 'ham' && isRefused)
      wrong.push(`${file}: ${scanned.fault ?? (verdict.kind === 'accept' ? wouldBe : verdict.class)}`);
  }
  const { ham, spam } = totals;
  const rows = [...byFilter]
    .sort(([, a], [, b]) => b.ham.refused - a.ham.refused || b.spam.refused - a.spam.refused)
    .map(([name, counts]) => [
      name,
      ...[counts.ham.refused, counts.ham.found, counts.spam.refused, counts.spam.found].map(String),
    ]);
  io.out(table(['filter', 'good refused', 'good found', 'bad refused', 'bad found'], rows));
  io.out(`${ham.refused} of ${ham.found} good messages refused, ${spam.refused} of ${spam.found} bad ones.`);
  for (const line of wrong.slice(0, MAX_LISTED)) io.out(shown(`good, and refused: ${line}`));
  if (wrong.length > MAX_LISTED) io.out(`… and ${wrong.length - MAX_LISTED} more.`);
  return wrong.length > 0 || unread > 0 ? 1 : 0;
}
