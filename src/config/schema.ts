/**
 * Every key of the configuration file: type, default, doc and check, declared once, a file of schema/ for each table.
 *
 * The order here is the order of the example file and of docs/config.md. Rules that join several keys (overlapping
 * prefixes, contradictions) are in check.ts.
 */
import { type Infer, table } from './field.ts';
import { complaints } from './schema/complaints.ts';
import { exception } from './schema/exceptions.ts';
import { filters } from './schema/filters.ts';
import { gateway } from './schema/gateway.ts';
import { exemptTo, intercept } from './schema/intercept.ts';
import { journal } from './schema/journal.ts';
import { limits } from './schema/limits.ts';
import { lockRule, locks } from './schema/locks.ts';
import { metrics } from './schema/metrics.ts';
import { network } from './schema/network.ts';
import { panel } from './schema/panel.ts';
import { preserve } from './schema/preserve.ts';
import { reports } from './schema/reports.ts';
import { rule } from './schema/rule.ts';
import { smarthost } from './schema/smarthost.ts';
import { stepRule } from './schema/steps.ts';
import { subscriber, subscribers } from './schema/subscriber.ts';
import { syslog } from './schema/syslog.ts';
import { tenant } from './schema/tenant.ts';
import { tls } from './schema/tls.ts';
import { webhook } from './schema/webhook.ts';

export const schema = table('Postern, the gate through which mail leaves a network.', {
  gateway,
  intercept,
  smarthost,
  tls,
  preserve,
  limits,
  filters,
  journal,
  syslog,
  network,
  subscribers,
  subscriber,
  tenant,
  rule,
  exception,
  exempt_to: exemptTo,
  locks,
  lock_rule: lockRule,
  step_rule: stepRule,
  panel,
  metrics,
  webhook,
  reports,
  complaints,
});

type Loaded = Infer<typeof schema.fields>;

/** The effective configuration: every default filled in, durations in ms, sizes in bytes, `workers` a number. */
export type Config = Omit<Loaded, 'gateway' | 'subscriber'> & {
  readonly gateway: Omit<Loaded['gateway'], 'workers'> & { readonly workers: number };
  readonly subscriber: readonly Subscriber[];
};
export type Network = Config['network'][number];

/** Where it was read: the file, and the line of a key or of the whole. */
export type Place = { readonly file: string; readonly line: number; readonly keyLine?: (key: string) => number };

/** Only what is set stands in it: there may be 100,000. */
export type Subscriber = Pick<Loaded['subscriber'][number], 'name' | 'prefixes'> &
  Partial<Omit<Loaded['subscriber'][number], 'name' | 'prefixes'>> & { readonly place: Place };
