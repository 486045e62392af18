/** Messages as filters get them. */
import { tmpdir } from 'node:os';
import type { Config } from '../../src/config/schema.ts';
import { allFilters, type FilterSet, filterThreads, makeFilters } from '../../src/filter/all.ts';
import type { FilterDeps, Mail, MakeFilter } from '../../src/filter/filter.ts';
import { Message } from '../../src/filter/message.ts';
import { runFilters } from '../../src/filter/run.ts';
import { systemClock } from '../../src/kit/clock.ts';
import { silentLog } from '../../src/kit/log.ts';
import { SpoolBudget, SpooledBody } from '../../src/wire/spool.ts';
import { FakeLedger, testConfig } from './gateway.ts';

/** A message in pieces of `size`. Each character is an octet. */
export function messageOf(text: string | Buffer, size = text.length): Message {
  const body = new SpooledBody(new SpoolBudget(1 << 29), 1 << 28, tmpdir());
  const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
  for (let at = 0; at < bytes.length; at += size) body.append(bytes.subarray(at, at + size));
  return new Message(body);
}

/** The same with an envelope and a host. */
export function mailOf(text: string | Buffer, differing: Partial<Mail> = {}): Mail {
  return {
    source: '198.51.100.10',
    subscriber: '198.51.100.10',
    network: 'customers',
    destination: '203.0.113.25',
    helo: 'host.example',
    isEarly: false,
    sender: 'a@a.example',
    recipients: ['b@b.example'],
    message: messageOf(text),
    ...differing,
  };
}

/** What filters need of the rest; the keeper is one that has just started. */
export function testDeps(config: Config): FilterDeps {
  const ledger = new FakeLedger();
  return {
    log: silentLog,
    clock: systemClock,
    threads: filterThreads(config),
    inquire: (inquiry) => ledger.inquire(inquiry),
  };
}

/** The filters that a configuration switches on, with threads of their own, which end with the test's process. */
export async function filtersOf(lines: string, all: readonly MakeFilter[] = allFilters): Promise<FilterSet> {
  const config = await testConfig(['127.0.0.1:2'], { filters: lines });
  return makeFilters(config, testDeps(config), all);
}

/** What the filters that look at a message say of one: `name: evidence` of each finding, and failures. */
export async function lookAt(
  set: FilterSet,
  mail: Mail,
): Promise<{ found: string[]; failed: string[]; classes: string[] }> {
  const { findings, failures } = await runFilters(set.body, mail, 60_000);
  return {
    found: findings.map(({ name, evidence }) => `${name}: ${evidence}`),
    failed: failures.map(({ filter, reason }) => `${filter}: ${reason}`),
    classes: findings.map((one) => one.class),
  };
}
