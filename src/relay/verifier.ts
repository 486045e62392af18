/**
 * Whether the server that a host has called is the one that a recipient's domain means: DANE (RFC 7672), else MTA-STS
 * (RFC 8461), else whatever it is.
 *
 * A gateway in the way has an address and not a name. The name is the one among the domain's mail servers that has this
 * address; where none has, the host was told by its own configuration to go there, and no policy of the domain is about it.
 */
import type { LookupFunction } from 'node:net';
import { readFileSync } from 'node:fs';
import type { Config } from '../config/schema.ts';
import { canonicalDomain } from '../kit/domain.ts';
import { parseAddress } from '../kit/address.ts';
import { type Found, SecureDns, type SecureType } from '../kit/secure-dns.ts';
import type { Class } from '../policy/classes.ts';
import type { TlsPolicy, TlsResult } from '../policy/tls.ts';
import { checkDane } from './dane.ts';
import { fetchPolicy, isAllowed, MtaSts, type StsFound } from './mta-sts.ts';
import type { Peer } from './peer.ts';

/** What the domain of a recipient says of this server. */
type Requirement =
  | { readonly policy: 'no-policy' | 'elsewhere' }
  | { readonly policy: 'unknown'; readonly reason: string }
  | { readonly policy: 'tlsa'; readonly names: readonly string[]; readonly records: readonly string[] }
  | { readonly policy: 'sts' | 'sts-testing'; readonly names: readonly string[]; readonly found: StsFound };

export type Verified = {
  readonly policy: TlsPolicy;
  readonly result: TlsResult;
  /** the recipient may not go there now */
  readonly refusal?: Class;
};

const MAX_SERVERS = 20;
const MAX_NAMES = 10_000;
const HOST = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)+$/;

export type VerifierOptions = {
  readonly dns: Pick<SecureDns, 'ask'>;
  readonly ca: Buffer | undefined;
  readonly timeoutMs: number;
  readonly failure: 'defer' | 'ignore';
  readonly nowMs: () => number;
  /** in place of HTTPS */
  readonly fetch?: (domain: string) => Promise<string>;
};

export class Verifier {
  readonly #options: VerifierOptions;
  readonly #sts: MtaSts;
  readonly #names: Map<string, string>;

  /** What `before` has learned stays known. */
  constructor(options: VerifierOptions, before?: Verifier) {
    this.#options = options;
    this.#names = before ? before.#names : new Map();
    const fetch = (domain: string): Promise<string> =>
      fetchPolicy(domain, { ca: options.ca, lookup: this.#lookup, timeoutMs: options.timeoutMs });
    this.#sts = new MtaSts(
      {
        fetch: options.fetch ?? fetch,
        texts: async (name) => {
          const found = await this.#ask(name, 'TXT');
          return found.kind === 'failed' ? undefined : found.kind === 'found' ? found.values : [];
        },
      },
      before && before.#sts,
    );
  }

  /** PEM of the authorities that servers are verified with; undefined is the system's. */
  get ca(): Buffer | undefined {
    return this.#options.ca;
  }

  /** The name under which a domain was last seen to have this server. */
  nameOf(address: string): string | undefined {
    return this.#names.get(address);
  }

  /** `domain` as it stands in the recipient; `peer` is undefined in clear. Never rejects; asks for a bounded time. */
  async verify(domain: string, address: string, peer: Peer | undefined): Promise<Verified> {
    const canonical = canonicalDomain(domain);
    const requirement: Requirement = HOST.test(canonical)
      ? await this.#within(this.#requirementOf(canonical, address))
      : { policy: 'no-policy' };
    return this.#judge(requirement, canonical, peer);
  }

  #judge(requirement: Requirement, domain: string, peer: Peer | undefined): Verified {
    const { policy } = requirement;
    if (policy === 'unknown') {
      const refusal = this.#options.failure === 'defer' ? ({ refusal: 'upstream.dns' } as const) : {};
      return { policy, result: 'lookup-failed', ...refusal };
    }
    if (policy === 'tlsa') {
      const result = resultOfDane(requirement.records, peer, [...requirement.names, domain], this.#options.nowMs());
      const isGood = result === 'success' || result === 'tlsa-unusable';
      return { policy, result, ...(!isGood && { refusal: 'upstream.dane' as const }) };
    }
    if (policy === 'sts' || policy === 'sts-testing') {
      const result = resultOfSts(requirement.found, requirement.names, peer);
      const isRefused = policy === 'sts' && result !== 'success';
      return { policy, result, ...(isRefused && { refusal: 'upstream.mta-sts' as const }) };
    }
    return { policy, result: peer ? 'success' : 'clear' };
  }

  async #requirementOf(domain: string, address: string): Promise<Requirement> {
    const mx = await this.#ask(domain, 'MX');
    if (mx.kind === 'failed') return unknown(mx);
    const listed = mx.kind === 'found' ? mx.values.map((value) => value.split(' ')[1] ?? '') : [domain];
    const type = parseAddress(address)?.family === 6 ? 'AAAA' : 'A';
    const servers = await Promise.all(
      listed
        .filter((name) => HOST.test(name))
        .slice(0, MAX_SERVERS)
        .map(async (name) => ({ name, found: await this.#ask(name, type) })),
    );
    const here = servers.filter(({ found }) => found.kind === 'found' && found.values.includes(address));
    const [first] = here;
    if (!first) {
      const lost = servers.find(({ found }) => found.kind === 'failed')?.found;
      return lost?.kind === 'failed' ? unknown(lost) : { policy: 'elsewhere' };
    }
    this.#remember(address, first.name);
    const names = here.map(({ name }) => name);
    // RFC 7672 section 2.2: only names that are themselves shown to be true can be looked up so.
    const secure = mx.isSecure ? here.filter(({ found }) => found.kind === 'found' && found.isSecure) : [];
    for (const { name } of secure) {
      const tlsa = await this.#ask(`_25._tcp.${name}`, 'TLSA');
      if (tlsa.kind === 'failed') return unknown(tlsa);
      if (tlsa.kind === 'found' && tlsa.isSecure) return { policy: 'tlsa', names: [name], records: tlsa.values };
    }
    const found = await this.#sts.policyOf(domain);
    const mode = typeof found === 'object' ? found.mode : found;
    if (mode === 'none') return { policy: 'no-policy' };
    // What cannot be had requires nothing (RFC 8461 section 5.1); it is counted.
    return { policy: mode === 'enforce' ? 'sts' : 'sts-testing', names, found };
  }

  #ask(name: string, type: SecureType): Promise<Found> {
    return this.#options.dns.ask(name, type, this.#options.timeoutMs);
  }

  async #within(asking: Promise<Requirement>): Promise<Requirement> {
    const { timeoutMs } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Requirement>((resolve) => {
      timer = setTimeout(() => resolve({ policy: 'unknown', reason: `not known within ${timeoutMs} ms` }), timeoutMs);
    });
    const requirement = await Promise.race([asking, late]);
    clearTimeout(timer);
    return requirement;
  }

  #remember(address: string, name: string): void {
    this.#names.delete(address);
    this.#names.set(address, name);
    if (this.#names.size > MAX_NAMES) this.#names.delete(this.#names.keys().next().value as string);
  }

  /** For HTTPS: the same resolver. */
  readonly #lookup: LookupFunction = (name, { all, family }, answer) => {
    const types = [4, 6].filter((one) => family === undefined || family === 0 || family === one);
    void Promise.all(types.map((one) => this.#ask(name, one === 4 ? 'A' : 'AAAA'))).then((found) => {
      const addresses = found.flatMap((one, i) =>
        one.kind === 'found' ? one.values.map((address) => ({ address, family: types[i] as number })) : [],
      );
      const [first] = addresses;
      if (!first) answer(Object.assign(new Error(`${name} has no address`), { code: 'ENOTFOUND' }), '', 4);
      else if (all) answer(null, addresses);
      else answer(null, first.address, first.family);
    });
  };
}

/** Undefined where no resolver is configured: then nothing is looked up. */
export function createVerifier({ preserve }: Config, nowMs: () => number, before?: Verifier): Verifier | undefined {
  const { resolver, caFile, lookupTimeout: timeoutMs, lookupFailure: failure } = preserve;
  if (!resolver) return undefined;
  const ca = caFile === undefined ? undefined : readFileSync(caFile);
  const dns = new SecureDns({ address: resolver.host, port: resolver.port });
  return new Verifier({ dns, ca, timeoutMs, failure, nowMs }, before);
}

function unknown({ reason }: Found & { kind: 'failed' }): Requirement {
  return { policy: 'unknown', reason };
}

function resultOfDane(
  records: readonly string[],
  peer: Peer | undefined,
  names: readonly string[],
  nowMs: number,
): TlsResult {
  if (!peer) return 'starttls-not-supported';
  const how = checkDane(records, peer, names, nowMs);
  return how === 'matches' ? 'success' : how === 'unusable' ? 'tlsa-unusable' : 'tlsa-invalid';
}

function resultOfSts(found: StsFound, names: readonly string[], peer: Peer | undefined): TlsResult {
  if (typeof found !== 'object') return found === 'fetch' ? 'sts-policy-fetch-error' : 'sts-policy-invalid';
  const allowed = names.filter((name) => isAllowed(found, name));
  if (allowed.length === 0) return 'validation-failure';
  if (!peer) return 'starttls-not-supported';
  if (peer.problem === 'CERT_HAS_EXPIRED') return 'certificate-expired';
  if (peer.problem !== undefined) return 'certificate-not-trusted';
  const [leaf] = peer.chain;
  return allowed.some((name) => leaf?.checkHost(name)) ? 'success' : 'certificate-host-mismatch';
}
