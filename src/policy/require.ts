/** For whose mail TLS is required: six forms, all or one domain or one address, of senders and of recipients. Pure. */
import { canonicalDomain } from '../kit/domain.ts';
import { applyMode, type Decision } from './decide.ts';
import { verdictOf } from './verdict.ts';

/** The address without brackets and route, its domain in one spelling; `` is the null sender. */
function addressIn(path: string): { readonly local: string; readonly domain: string } {
  const address = path.replace(/^<(?:@[^:]*:)?|>$/g, '');
  const at = address.lastIndexOf('@');
  return at < 0
    ? { local: address, domain: '' }
    : { local: address.slice(0, at), domain: canonicalDomain(address.slice(at + 1)) };
}

/** `*` for all, `example.net` for a domain and none below it, `a@example.net` for one address, in any case. */
export class AddressSet {
  readonly #isAll: boolean;
  readonly #words: ReadonlySet<string>;

  constructor(words: readonly string[]) {
    this.#isAll = words.includes('*');
    this.#words = new Set(words.map((word) => word.toLowerCase()));
  }

  get isEmpty(): boolean {
    return this.#words.size === 0;
  }

  /** `path` as in MAIL and RCPT: `<a@example.net>`. */
  has(path: string): boolean {
    if (this.#isAll || this.isEmpty) return this.#isAll;
    const { local, domain } = addressIn(path);
    return this.#words.has(domain) || this.#words.has(`${local.toLowerCase()}@${domain}`);
  }
}

export type TlsRules = {
  /** senders whose hosts must come over TLS */
  readonly from: AddressSet;
  /** recipients whose mail must go on over TLS */
  readonly to: AddressSet;
};

export function tlsRules(from: readonly string[], to: readonly string[]): TlsRules {
  return { from: new AddressSet(from), to: new AddressSet(to) };
}

const NEEDS_TLS = verdictOf('tls.required');
const MUST_BE_ALONE = verdictOf('tls.alone');
const ACCEPT = { kind: 'accept', class: 'accepted.clean' } as const;

/**
 * One recipient of one sender. `begun` is the connection that the transaction is on already, and whether it was asked to
 * have TLS: a recipient for whom that is required does not join others whose mail may go in clear.
 */
export function decideTls(
  rules: TlsRules,
  mail: { readonly from: string; readonly to: string; readonly isEncrypted: boolean },
  begun: 'none' | 'with-tls' | 'without',
  mode: string,
): Decision {
  if (!mail.isEncrypted && rules.from.has(mail.from)) return applyMode(NEEDS_TLS, mode);
  // Nobody is told of it in mode "observe" either: going on in clear is no way out.
  if (begun === 'without' && rules.to.has(mail.to)) return { verdict: MUST_BE_ALONE, wouldBe: undefined, tags: [] };
  return { verdict: ACCEPT, wouldBe: undefined, tags: [] };
}
