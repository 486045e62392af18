/** `postern limits`: how much of each limit is used. */
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.ts';
import { identitySubject, type Limits, opaqueLimitsOf } from '../identity/limits.ts';
import { sendersOf, subjectOf } from '../identity/senders.ts';
import { canonical } from '../kit/address.ts';
import { safeJson } from '../kit/log.ts';
import type { Count } from '../ledger/counters.ts';
import type { Rule } from '../policy/limits.ts';
import { ask, askHelp, askOptions } from './ask.ts';
import { type Command, UsageError } from './command.ts';
import { age, bytes, table, time } from './show.ts';

export const command: Command = {
  name: 'limits',
  summary: 'show how much of its limits an address has used',
  help: `Usage: postern limits ADDRESS [--identity WHO] [--json] [--config FILE | --run-dir DIR]

Shows each limit of the subscriber that an address belongs to: how much is used, how much is left, and when it is free
again. A count over a minute or an hour goes down evenly; a longer one, and one of different domains or senders, ends with
its period (UTC). What running transactions have reserved is counted.

  --identity WHO  of that identity behind it (setting "identity")
  --json          one JSON object a line: {subject, unit, period, limit, used, endsAt}
${askHelp}

Exit status: 0 shown; 1 the address is in no network, or the keeper cannot be asked.

Examples: postern limits 198.51.100.17
          postern limits 198.51.100.17 --identity bob@example.com
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { ...askOptions, json: { type: 'boolean', default: false }, identity: { type: 'string' } },
    });
    const address = positionals.length === 1 ? canonical(positionals[0] ?? '') : undefined;
    if (address === undefined) throw new UsageError('name one address, for example 198.51.100.17');
    const loaded = await loadConfig(values.config, {});
    if (!loaded.ok) {
      for (const { message } of loaded.errors) io.err(message);
      return 1;
    }
    const sender = sendersOf(loaded.config).find(address);
    if (!sender) {
      io.err(`${address} is in no network: its connections to port 25 are refused`);
      return 1;
    }
    const { identity } = values;
    const whose = subjectOf(sender, address);
    const subject = identity === undefined ? whose : identitySubject(whose, identity);
    const counts = (await ask('limits', values, { of: 'counters', subject }, io)) as readonly Count[] | undefined;
    if (counts === undefined) return 1;
    const opaque = identity === undefined ? Object.values(opaqueLimitsOf(sender.network)).flat() : [];
    const shown = withUnused(counts, [...rulesOf(sender.limits, identity !== undefined), ...opaque]);
    if (values.json) for (const count of shown) io.out(safeJson({ subject, ...count }));
    else if (shown.length === 0) io.out(`${subject}: nothing is limited but max_connections`);
    else io.out(`${subject}\n\n${limitsTable(shown, Date.now())}`);
    return 0;
  },
};

type Shown = Omit<Count, 'endsAt'> & { readonly endsAt?: number };

/** Those that nothing is used of stand there too; counts of limits that are configured no more do not. */
function withUnused(counts: readonly Count[], rules: readonly Rule[]): Shown[] {
  return rules.map(({ unit, period, limit, earned }) => {
    const count = counts.find((one) => one.unit === unit && one.period === period);
    // What was earned is what the keeper has counted by.
    if (count) return earned ? count : { ...count, limit };
    return { unit, period, limit, used: 0 };
  });
}

function rulesOf(limits: Limits | undefined, ofIdentity: boolean): readonly Rule[] {
  if (ofIdentity) return limits?.identity ?? [];
  const { connection, message, sender, recipient, domain, bytes: octets } = limits ?? {};
  return [connection, message, recipient, octets, domain, sender].flatMap((list) => list ?? []);
}

function limitsTable(counts: readonly Shown[], nowMs: number): string {
  return table(
    ['LIMIT', 'USED', 'OF', 'LEFT', 'ALL FREE AGAIN'],
    counts.map(({ unit, period, limit, used, endsAt }) => {
      const amount = (count: number): string =>
        unit === 'bytes' || unit === 'opaque-bytes' ? bytes(count) : String(count);
      const when = endsAt === undefined ? '' : `${time(endsAt)} (in ${age(endsAt - nowMs)})`;
      return [`${unit}/${period}`, amount(used), amount(limit), amount(Math.max(0, limit - used)), when];
    }),
  );
}
