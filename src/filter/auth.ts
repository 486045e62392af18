/**
 * SPF, DKIM, DMARC and ARC of what hosts send, as a receiver would find them: facts, which the configuration gives a meaning.
 *
 * The work is done in threads of its own, as it waits for name servers and hashes what strangers have written; a message that
 * takes too long ends with its thread. A name server that does not answer is left alone like any other service.
 */
import { Names } from '../kit/resolver.ts';
import { Threads } from '../kit/threads.ts';
import type { Class } from '../policy/classes.ts';
import type { AuthFacts, AuthQuestion } from './auth.thread.ts';
import { Breaker } from './breaker.ts';
import type { Filter, Mail, MakeFilter, Seen } from './filter.ts';
import { copyOf } from './octets.ts';

const HEAP_MIB = 256;
const WARM_MS = 30_000;
/** Of a message whose body is not looked at. */
const HEADER_BYTES = 320 * 1024;

/** Thrown so that the breaker counts it; the facts that there are stand all the same. */
class DnsDead extends Error {
  readonly facts: AuthFacts;
  constructor(facts: AuthFacts) {
    super('no name server answers');
    this.facts = facts;
  }
}

export const auth = (({ filters: { auth: config, resolver } }, deps): Filter<'body'> | undefined => {
  if (!config.enabled) return undefined;
  const breaker = new Breaker('dns', deps);
  const entry = new URL('./auth.thread.ts', import.meta.url);
  const threads = new Threads({ entry, name: 'auth', most: config.threads, heapMiB: HEAP_MIB });
  // Loading mailauth takes a thread half a second: not the first message's.
  for (let i = 0; i < config.threads; i++)
    threads.run('warm', () => ({ value: undefined }), AbortSignal.timeout(WARM_MS)).catch(() => {});
  const servers = resolver.map(({ text }) => text);
  const names = new Names({ servers, timeoutMs: config.lookup });
  let looks = 0;
  let isClosed = false;

  const factsOf = async (mail: Mail, signal: AbortSignal): Promise<AuthFacts> => {
    const prepare = async () => {
      const withBody = mail.message.sizeBytes <= config.maxSize;
      const bytes = await copyOf(mail.message, withBody ? mail.message.sizeBytes : HEADER_BYTES, signal);
      const value: AuthQuestion = {
        bytes,
        withBody,
        ip: mail.source,
        helo: utf8(mail.helo),
        sender: utf8(mail.sender),
        servers,
        lookupMs: config.lookup,
      };
      return { value, transfer: [bytes.buffer] };
    };
    const facts = (await threads.run('auth', prepare, signal)) as AuthFacts;
    if (facts.isDnsDead) throw new DnsDead(facts);
    return facts;
  };

  /** What is late through a sender's own name servers is returned: a failure of this look, and none of ours. */
  const factsOrFault = async (mail: Mail, signal: AbortSignal): Promise<AuthFacts | Error> => {
    try {
      return await factsOf(mail, signal);
    } catch (error) {
      if (error instanceof DnsDead || !(error instanceof Error) || !(await names.answersAtAll())) throw error;
      return error;
    }
  };

  return {
    name: 'auth',
    stage: 'body',
    deadlineMs: config.deadline,
    async look(mail, { signal }) {
      looks++;
      try {
        const facts = await breaker.ask(() => factsOrFault(mail, signal));
        if (facts instanceof Error) throw facts;
        return seenIn(facts);
      } catch (error) {
        if (error instanceof DnsDead) return seenIn(error.facts);
        throw error;
      } finally {
        looks--;
        if (isClosed && looks === 0) void threads.close();
      }
    },
    actionOf(class_) {
      const key = ACTION_OF[class_];
      return key ? config[key] : 'ignore';
    },
    failure: config.failure,
    report: () => breaker.report(),
    close() {
      isClosed = true;
      if (looks === 0) void threads.close();
    },
  };
}) satisfies MakeFilter;

const ACTION_OF: Partial<Record<Class, 'spf' | 'dkim' | 'dmarcReject' | 'dmarcQuarantine' | 'author' | 'unknown'>> = {
  'auth.spf': 'spf',
  'auth.dkim': 'dkim',
  'auth.dmarc-reject': 'dmarcReject',
  'auth.dmarc-quarantine': 'dmarcQuarantine',
  'auth.author': 'author',
  'auth.unknown': 'unknown',
};

/** What is worth a finding of its own, and all of it in one line that leads to nothing. */
function seenIn(facts: AuthFacts): readonly Seen[] {
  const { spf, dkim, dmarc, arc, left } = facts;
  const seen: Seen[] = [];
  if (spf.result === 'fail') seen.push(finding('auth.spf', 0.3, spf.domain));
  const isSigned = dkim.some(({ result }) => result === 'pass');
  const broken = dkim.find(({ result }) => result === 'fail' || result === 'permerror' || result === 'policy');
  if (broken && !isSigned) seen.push(finding('auth.dkim', 0.1, `${broken.selector}._domainkey.${broken.domain}`));
  // A signature that was not looked at may be the one that the policy asks for.
  if (dmarc.result === 'fail' && left.length === 0) {
    if (dmarc.policy === 'reject') seen.push(finding('auth.dmarc-reject', 0.4, dmarc.domain));
    if (dmarc.policy === 'quarantine') seen.push(finding('auth.dmarc-quarantine', 0.3, dmarc.domain));
  }
  if (dmarc.skipped !== '' && left.length === 0) seen.push(finding('auth.author', 0.3, dmarc.skipped));
  const unknown = [
    ...left.map((one) => `not looked at: ${one}`),
    ...Object.entries({ spf: spf.result, dmarc: dmarc.result }).flatMap(([what, is]) =>
      is === 'temperror' ? [what] : [],
    ),
    ...(dkim.some(({ result }) => result === 'temperror') ? ['dkim'] : []),
  ];
  if (unknown.length > 0) seen.push(finding('auth.unknown', 0, unknown.join(', ')));
  const signed = dkim.map(({ result, domain, selector }) => `dkim=${result} (${selector}._domainkey.${domain})`);
  if (signed.length === 0) signed.push('dkim=none');
  const line = [`spf=${spf.result} (${spf.domain})`, ...signed, `dmarc=${dmarc.result}`, `arc=${arc}`].join(' ');
  seen.push({ filter: 'auth', name: 'facts', score: 0, evidence: line, class: 'accepted.clean' });
  return seen;
}

function finding(of: Class, score: number, evidence: string): Seen {
  return { filter: 'auth', name: of.slice('auth.'.length), score, evidence, class: of };
}

/** What came over the wire has one character for each octet. */
function utf8(wire: string): string {
  return Buffer.from(wire, 'latin1').toString('utf8');
}
