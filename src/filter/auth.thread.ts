/** The inside of the threads of the filter `auth`: mailauth, with what it may cost bounded. */
import { authenticate } from 'mailauth';
import { Asking, Names } from '../kit/resolver.ts';
import { serveTasks } from '../kit/thread.ts';
import { unstuff } from './octets.ts';
import { chooseSignatures } from './signatures.ts';

/** RFC 7208 allows an SPF record ten look-ups; a message has signatures and a policy besides. */
const MAX_LOOKUPS = 40;

export type AuthQuestion = {
  /** the message as it came over the wire; its beginning when `withBody` is false */
  readonly bytes: Uint8Array;
  readonly withBody: boolean;
  readonly ip: string;
  readonly helo: string;
  /** empty is the null sender */
  readonly sender: string;
  readonly servers: readonly string[];
  readonly lookupMs: number;
};

/** Results as RFC 8601 names them. */
export type AuthFacts = {
  readonly spf: { readonly result: string; readonly domain: string };
  readonly dkim: readonly { readonly result: string; readonly domain: string; readonly selector: string }[];
  /** `skipped` says why there is no single author to look up */
  readonly dmarc: {
    readonly result: string;
    readonly policy: string;
    readonly domain: string;
    readonly skipped: string;
  };
  readonly arc: string;
  /** what was not looked at */
  readonly left: readonly string[];
  /** no name server answers */
  readonly isDnsDead: boolean;
};

let names: Names | undefined;
let namesFor = '';

serveTasks({ auth, warm: () => undefined });

async function auth(question: AuthQuestion): Promise<AuthFacts> {
  const { bytes, withBody, ip, helo, sender, servers, lookupMs } = question;
  const key = `${lookupMs} ${servers.join()}`;
  if (!names || namesFor !== key) names = new Names({ servers, timeoutMs: lookupMs });
  namesFor = key;
  const asking = new Asking(names, MAX_LOOKUPS);
  const message = unstuff(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const { pieces, left } = chooseSignatures(message, withBody);
  const result = await authenticate(pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces), {
    ip,
    helo,
    ...(sender !== '' && { sender }),
    // Unused but for a text that is thrown away; the default asks the system for its name.
    mta: 'postern.invalid',
    resolver: asking.resolve,
    strict: true,
    disableBimi: true,
  });
  const { spf, dkim, dmarc, arc, dmarcSkipReason = '' } = result as typeof result & { dmarcSkipReason?: string };
  // Both are there only where a policy was found, whatever the types say.
  const { policy = '', domain = '' } = (dmarc || {}) as { policy?: string; domain?: string };
  return {
    spf: { result: spf ? spf.status.result : 'none', domain: (spf && spf.domain) || '' },
    // A message without a signature has one result that says so.
    dkim: dkim.results
      .filter(({ signingDomain }) => signingDomain)
      .map(({ status, signingDomain, selector }) => ({
        result: status.result,
        domain: signingDomain ?? '',
        selector: selector ?? '',
      })),
    dmarc: dmarc
      ? { result: dmarc.status.result, policy, domain, skipped: '' }
      : { result: 'none', policy: '', domain: '', skipped: dmarcSkipReason },
    arc: arc ? arc.status.result : 'none',
    left,
    isDnsDead: asking.isUnanswered && !(await names.answersAtAll()),
  };
}
