/**
 * MTA-STS (RFC 8461): the policy of a domain, over HTTPS with a certificate of its name, remembered as long as it says.
 *
 * A policy that holds goes on holding while its record or its server is away: taking either away is what an attacker would do.
 */
import { request } from 'node:https';
import type { LookupFunction } from 'node:net';

export type StsPolicy = {
  readonly mode: 'enforce' | 'testing' | 'none';
  /** `mx.example.org`, `*.example.org` */
  readonly mx: readonly string[];
  readonly maxAgeMs: number;
};

/** `fetch`, `invalid`: there is a record and no policy to be had. */
export type StsFound = StsPolicy | 'none' | 'fetch' | 'invalid';

const MAX_POLICY_BYTES = 64 * 1024;
const MAX_AGE_S = 31_557_600;
const MAX_DOMAINS = 10_000;
/** A policy that could not be had is not asked for again before (RFC 8461 section 3.3). */
const AGAIN_MS = 5 * 60_000;

type Kept = { readonly id: string; readonly untilMs: number; readonly found: StsFound };

export type StsDeps = {
  /** the values of the TXT record of a name; undefined when nobody knows */
  readonly texts: (name: string) => Promise<readonly string[] | undefined>;
  /** the policy as its server gives it; rejects when it does not */
  readonly fetch: (domain: string) => Promise<string>;
};

export class MtaSts {
  readonly #deps: StsDeps;
  readonly #kept: Map<string, Kept>;
  readonly #asking = new Map<string, Promise<StsFound>>();

  /** What `before` remembers stays remembered. */
  constructor(deps: StsDeps, before?: MtaSts) {
    this.#deps = deps;
    this.#kept = before ? before.#kept : new Map();
  }

  /** Never rejects. */
  async policyOf(domain: string): Promise<StsFound> {
    const asking = this.#asking.get(domain) ?? this.#find(domain);
    this.#asking.set(domain, asking);
    try {
      return await asking;
    } finally {
      this.#asking.delete(domain);
    }
  }

  async #find(domain: string): Promise<StsFound> {
    const before = this.#kept.get(domain);
    const kept = before && before.untilMs > performance.now() ? before : undefined;
    const texts = await this.#deps.texts(`_mta-sts.${domain}`);
    const id = texts && recordId(texts);
    if (id === undefined || id === kept?.id) return kept?.found ?? 'none';
    const found = await this.#fetch(domain);
    const isPolicy = typeof found === 'object';
    // One that holds is not given up for another that cannot be had.
    if (!isPolicy && kept && typeof kept.found === 'object') return kept.found;
    this.#kept.delete(domain);
    this.#kept.set(domain, { id, untilMs: performance.now() + (isPolicy ? found.maxAgeMs : AGAIN_MS), found });
    if (this.#kept.size > MAX_DOMAINS) this.#kept.delete(this.#kept.keys().next().value as string);
    return found;
  }

  async #fetch(domain: string): Promise<StsFound> {
    try {
      return parsePolicy(await this.#deps.fetch(domain)) ?? 'invalid';
    } catch {
      return 'fetch';
    }
  }
}

/** RFC 8461 section 3.1: exactly one record of this version, with an id. */
export function recordId(texts: readonly string[]): string | undefined {
  const ours = texts.filter((text) => /^v=STSv1\s*;/.test(text));
  return ours.length === 1 ? /;\s*id=([A-Za-z0-9]{1,32})\s*(?:;|$)/.exec(ours[0] ?? '')?.[1] : undefined;
}

/** RFC 8461 section 3.2; of a field that may stand once, the first counts. */
export function parsePolicy(text: string): StsPolicy | undefined {
  const fields = text.split(/\r?\n/).map((line) => /^([A-Za-z0-9_]+):\s*(.*?)\s*$/.exec(line));
  const of = (name: string): string[] => fields.flatMap((field) => (field?.[1] === name ? [field[2] ?? ''] : []));
  const [version, mode, maxAge] = [of('version')[0], of('mode')[0], of('max_age')[0]];
  const mx = of('mx').map((name) => name.toLowerCase());
  if (version !== 'STSv1' || !/^\d{1,10}$/.test(maxAge ?? '')) return undefined;
  if (mode !== 'enforce' && mode !== 'testing' && mode !== 'none') return undefined;
  if (mode !== 'none' && mx.length === 0) return undefined;
  return { mode, mx, maxAgeMs: Math.min(Number(maxAge), MAX_AGE_S) * 1000 };
}

/** `*` is one whole label on the left (RFC 8461 section 4.1). */
export function isAllowed({ mx }: StsPolicy, name: string): boolean {
  const parent = name.slice(name.indexOf('.') + 1);
  return mx.some((pattern) => pattern === name || (pattern.startsWith('*.') && pattern.slice(2) === parent));
}

/** RFC 8461 section 3.3: no redirect, a certificate of that name, plain text of bounded length. Rejects otherwise. */
export function fetchPolicy(
  domain: string,
  {
    ca,
    lookup,
    timeoutMs,
  }: { readonly ca: Buffer | undefined; readonly lookup: LookupFunction; readonly timeoutMs: number },
): Promise<string> {
  const host = `mta-sts.${domain}`;
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const options = { host, servername: host, path: '/.well-known/mta-sts.txt', lookup, agent: false, signal };
    const asked = request({ ...options, ...(ca && { ca }) }, (response) => {
      const { statusCode, headers } = response;
      if (statusCode !== 200 || !/^text\/plain\s*(?:;|$)/i.test(headers['content-type'] ?? '')) {
        reject(new Error(`status ${statusCode}, ${headers['content-type']}`));
        asked.destroy();
        return;
      }
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes > MAX_POLICY_BYTES) asked.destroy(new Error('too long'));
        else parts.push(part);
      });
      response.on('end', () => resolve(Buffer.concat(parts).toString('utf8')));
      response.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}
