/**
 * Hosts that a message points to, against lists in DNS (RFC 5782): each host's last two and three labels, at most so many
 * questions a message.
 *
 * A list that lists everything, or not its own test point, or that says it does not answer us, is sick: it is left out
 * until it is well again, and said to be so in the log. Silence of a list is a failure, and never a finding.
 */
import { Names } from '../kit/resolver.ts';
import { contentReader } from './content.ts';
import type { Filter, FilterDeps, MakeFilter, Seen } from './filter.ts';
import type { Content } from './inspect.ts';
import { placesOf } from './url-list.ts';

const CHECK_MS = 10 * 60_000;
/** A list that was silent is not waited for by every message. */
const SILENT_MS = 5000;
/** RFC 5782 section 5: never listed. */
const NEVER_LISTED = 'invalid';
/** RFC 1035 section 2.3.4. What is none cannot be asked for, and no list may seem silent because of it. */
const NAME = /^(?:[a-z0-9_-]{1,63}\.)+[a-z0-9_-]{1,63}$/;
const MAX_NAME = 253;

export const urlDns = ((config, deps): Filter<'body'> | undefined => {
  const { urlDns: own } = config.filters;
  if (own.lists.length === 0) return undefined;
  const names = new Names({ servers: config.filters.resolver.map(({ text }) => text), timeoutMs: own.timeout });
  const lists = own.lists.map((entry) => new DnsList(entry, names, deps));
  const read = contentReader(config, deps);

  const judge = async (content: Content): Promise<readonly Seen[]> => {
    const hosts = namesOf(content.urls);
    if (hosts.length === 0) return [];
    const states = await Promise.allSettled(lists.map((list) => list.isWell()));
    const questions = lists
      .filter((_, i) => states[i]?.status === 'fulfilled' && states[i].value)
      .flatMap((list) => hosts.map((name) => ({ list, name })))
      .filter(({ list, name }) => name.length + 1 + list.zone.length <= MAX_NAME)
      .slice(0, own.maxQueries);
    const answers = await Promise.allSettled(questions.map(({ list, name }) => list.lists(name)));
    for (const [i, answer] of answers.entries()) {
      const question = questions[i];
      if (answer.status === 'fulfilled' && answer.value && question)
        return [finding(question.name, question.list.zone)];
    }
    // Nobody has listed it, but not all have been heard.
    const silent = [...states, ...answers].find(({ status }) => status === 'rejected') as
      | PromiseRejectedResult
      | undefined;
    if (silent) throw silent.reason;
    return [];
  };
  return {
    name: 'url_dns',
    stage: 'body',
    needs: 'content',
    deadlineMs: own.deadline,
    look: async (mail) => judge(await read(mail)),
    actionOf: () => own.listed,
    failure: own.failure,
  };
}) satisfies MakeFilter;

function finding(name: string, zone: string): Seen {
  return { filter: 'url_dns', name: 'listed', score: 0.6, evidence: `${name} in ${zone}`, class: 'spam.url' };
}

class DnsList {
  readonly zone: string;
  readonly #testPoint: string;
  readonly #names: Names;
  readonly #deps: FilterDeps;
  #nextCheckMs = Number.NEGATIVE_INFINITY;
  #well: Promise<boolean> = Promise.resolve(false);

  constructor(entry: string, names: Names, deps: FilterDeps) {
    const [zone = '', testPoint = 'test'] = entry.split(' ');
    this.zone = zone;
    this.#testPoint = testPoint;
    this.#names = names;
    this.#deps = deps;
  }

  /** Asked anew after a while; who asks meanwhile waits for the same answer. Rejects when the list is silent. */
  isWell(): Promise<boolean> {
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs >= this.#nextCheckMs) {
      this.#nextCheckMs = nowMs + CHECK_MS;
      this.#well = this.#check();
      this.#well.catch((error: unknown) => this.#silent(error));
    }
    return this.#well;
  }

  /** 127.0.0.0/8 says that it is listed; 127.255.255.0/24 that we are not answered. */
  async lists(name: string): Promise<boolean> {
    const addresses = await this.#addresses(name).catch((error: unknown) => {
      this.#silent(error);
      throw error;
    });
    if (addresses.length === 0) return false;
    if (addresses.some((address) => !address.startsWith('127.') || address.startsWith('127.255.255.'))) {
      this.#sick(`answered ${addresses[0]}`);
      return false;
    }
    return true;
  }

  async #check(): Promise<boolean> {
    const [listed, never] = await Promise.all([this.#addresses(this.#testPoint), this.#addresses(NEVER_LISTED)]);
    if (never.length > 0) return this.#sick('it lists everything');
    if (!listed.some((address) => address.startsWith('127.0.'))) return this.#sick('it does not list its test point');
    return true;
  }

  /** None when it is not listed. Rejects when nobody says. */
  async #addresses(name: string): Promise<readonly string[]> {
    try {
      return (await this.#names.resolve(`${name}.${this.zone}`, 'A')) as readonly string[];
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOTFOUND' || code === 'ENODATA') return [];
      throw error;
    }
  }

  /** Nobody waits for it for a while. */
  #silent(why: unknown): void {
    this.#well = Promise.reject(why);
    this.#well.catch(() => {});
    this.#nextCheckMs = this.#deps.clock.monotonicMs() + SILENT_MS;
  }

  #sick(why: string): false {
    this.#well = Promise.resolve(false);
    this.#deps.log.write('error', 'filters.list-off', { list: this.zone, why });
    return false;
  }
}

/** What is asked for: the last two and three labels of each host, in which a registered name is found in most countries. */
function namesOf(addresses: readonly string[]): string[] {
  const names = new Set<string>();
  for (const { host } of addresses.flatMap(placesOf)) {
    if (!NAME.test(host)) continue;
    if (/^\d+(?:\.\d+){3}$/.test(host)) names.add(host.split('.').reverse().join('.'));
    else for (const count of [2, 3]) names.add(host.split('.').slice(-count).join('.'));
  }
  return [...names];
}
