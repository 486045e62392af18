/** `postern predict` */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.ts';
import { safeJson } from '../kit/log.ts';
import { parseTime } from './ask.ts';
import { type Command, DEFAULT_CONFIG, UsageError } from './command.ts';
import { predict, type Predicted, type PredictedRow } from './predict/predict.ts';
import { counted, table } from './show.ts';

const MAX_ROWS = 1000;

export const command: Command = {
  name: 'predict',
  summary: 'say what would have been refused, by mode "observe" or by another configuration',
  help: `Usage: postern predict [--since TIME] [--journal FILE] [--limit N] [--json]
       postern predict --config NEW [--since TIME] [--journal FILE] [--limit N] [--json]

Reads the journal itself (as root, or as a user who may read it). Without --config: what was refused, and what mode
"observe" would have refused, by class and subscriber. With --config the facts of each attempt are judged again by that
configuration, and both are shown side by side: who sent what to whom, what the filters found, what the far side said.

Limits, quotas, locks and steps are counted anew, from nothing at --since. What the journal does not have stays as it was:
how connections overlapped (max_connections), TLS, what a filter would find that had not looked. A host that is refused
does not try again. Connections that said nothing are not in the journal and not in a limit of connections.

  --config NEW    the configuration to try; nothing is applied
  --since TIME    from then: ago such as 12h or 7d (default), or a time such as 2026-11-23T14:05Z
  --journal FILE  default: journal.db in gateway.state_dir of the configuration (${DEFAULT_CONFIG} without --config)
  --limit N       at most so many lines (default 50)
  --json          one JSON object a line, the sums first

Exit status: 0 shown; 1 a configuration is wrong, or the journal cannot be read.

Examples: postern predict --since 7d
          postern predict --config /etc/postern/new.toml --since 2d
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: 'string' },
        since: { type: 'string', default: '7d' },
        journal: { type: 'string' },
        limit: { type: 'string', default: '50' },
        json: { type: 'boolean', default: false },
      },
    });
    const sinceMs = parseTime('--since', values.since, Date.now());
    const limit = Number(values.limit);
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_ROWS)
      throw new UsageError(`--limit is a number from 1 to ${MAX_ROWS}, not "${values.limit}"`);
    const needed = values.config ?? (values.journal === undefined ? DEFAULT_CONFIG : undefined);
    const loaded = needed === undefined ? undefined : await loadConfig(needed, {});
    if (loaded && !loaded.ok) {
      for (const { message } of loaded.errors) io.err(message);
      return 1;
    }
    const journal = values.journal ?? join(loaded?.config.gateway.stateDir ?? '', 'journal.db');
    let predicted: Predicted;
    try {
      predicted = await predict(journal, sinceMs, values.config === undefined ? undefined : loaded?.config);
    } catch (error) {
      if (!isSqlite(error)) throw error;
      io.err(`postern predict: ${journal} cannot be read: ${error.message}`);
      return 1;
    }
    const { rows, ...sums } = predicted;
    if (values.json) {
      io.out(safeJson(sums));
      for (const row of rows.slice(0, limit)) io.out(safeJson(row));
      return 0;
    }
    io.out(values.config === undefined ? observedText(predicted, limit) : comparedText(predicted, limit));
    if (rows.length > limit) io.err(`${rows.length - limit} lines more: --limit ${Math.min(rows.length, MAX_ROWS)}`);
    return 0;
  },
};

function isSqlite(error: unknown): error is Error {
  return error instanceof Error && (error as { code?: unknown }).code === 'ERR_SQLITE_ERROR';
}

function observedText({ attempts, rows }: Predicted, limit: number): string {
  const head = `${counted(attempts, 'attempt', 'attempts')}; refused ${sum(rows, 'refusedBefore')}, and mode "enforce" would have refused ${sum(rows, 'observedBefore')} more\n`;
  if (rows.length === 0) return head;
  const lines = rows
    .slice(0, limit)
    .map((row) => [row.class, row.subscriber, String(row.refusedBefore), String(row.observedBefore)]);
  return `${head}\n${table(['CLASS', 'SUBSCRIBER', 'REFUSED', 'WOULD HAVE BEEN'], lines)}`;
}

function comparedText({ attempts, gone, withoutAddresses, rows }: Predicted, limit: number): string {
  const head = [
    `${counted(attempts, 'attempt', 'attempts')}: refused ${sum(rows, 'refusedBefore')} then and ${sum(rows, 'refusedAfter')} with this configuration;`,
    `in mode "observe" ${sum(rows, 'observedBefore')} then and ${sum(rows, 'observedAfter')} would have been`,
    ...(gone > 0
      ? [`${counted(gone, 'attempt', 'attempts')} more would not have been made: their connection is refused`]
      : []),
    ...(withoutAddresses > 0
      ? [
          `${counted(withoutAddresses, 'attempt has', 'attempts have')} no addresses of mail ("log"): senders and domains are not judged`,
        ]
      : []),
  ];
  const text = head.map((line) => `${line}\n`).join('');
  if (rows.length === 0) return text;
  const lines = rows
    .slice(0, limit)
    .map((row) => [
      row.class,
      row.subscriber,
      ...[row.refusedBefore, row.refusedAfter, row.observedBefore, row.observedAfter].map(String),
    ]);
  return `${text}\n${table(['CLASS', 'SUBSCRIBER', 'REFUSED', 'THEN', 'OBSERVED', 'THEN'], lines)}`;
}

type Sums = 'refusedBefore' | 'refusedAfter' | 'observedBefore' | 'observedAfter';

function sum(rows: readonly PredictedRow[], what: Sums): number {
  return rows.reduce((total, row) => total + row[what], 0);
}
