/**
 * What becomes of a mail from each sender, as it is set up for TLS, towards each far side: the table of docs/tls.md as it
 * is expected to hold, written down before any of it is run.
 *
 *     tls>tls       TLS on both legs             clear>tls    the host's leg in clear
 *     tls>trusted   over a link that the operator vouches for
 *     clear>clear   nobody offers TLS            deferred     4yz, or the sender itself does not go on: it keeps the mail
 */
export const FAR_SIDES = ['verified', 'opportunistic', 'none', 'trusted', 'self-signed', 'expired'] as const;
export type FarSide = (typeof FAR_SIDES)[number];
export type Outcome = 'tls>tls' | 'clear>tls' | 'tls>trusted' | 'clear>clear' | 'deferred';

/** `mta` and the label of the domain by which it knows what to ask for. */
export type Cell = { readonly mta: 'postfix' | 'exim' | 'opensmtpd'; readonly policy: string };

const row = (
  verified: Outcome,
  opportunistic: Outcome,
  none: Outcome,
  trusted: Outcome,
): Readonly<Record<FarSide, Outcome>> => ({
  verified,
  opportunistic,
  none,
  trusted,
  // The smarthost is always verified where configuration says so: nothing goes on.
  'self-signed': 'deferred',
  expired: 'deferred',
});

/** Uses TLS where it is offered, whatever the certificate. */
const MAY = row('tls>tls', 'tls>tls', 'clear>clear', 'tls>trusted');
/** TLS or nothing, whatever the certificate; or one of an authority that it has been given: ours. */
const MUST = row('tls>tls', 'tls>tls', 'deferred', 'tls>trusted');
/** Wants to see the certificate of the server that it called: keeps its mail. */
const VERIFIES = row('deferred', 'deferred', 'deferred', 'deferred');

export const EXPECTED: Readonly<Record<string, Readonly<Record<FarSide, Outcome>>>> = {
  'postfix may': MAY,
  'postfix encrypt': MUST,
  // There is no signed zone here: without TLSA records it is "may".
  'postfix dane': MAY,
  'postfix verify': VERIFIES,
  'postfix verify-ours': MUST,
  'postfix fingerprint': VERIFIES,
  'exim plain': MAY,
  'exim require': MUST,
  'exim verify': VERIFIES,
  'exim verify-ours': MUST,
  'opensmtpd plain': MAY,
  'opensmtpd tls': VERIFIES,
  'opensmtpd no-verify': MUST,
};

export const cells: readonly Cell[] = Object.keys(EXPECTED).map((key) => {
  const [mta, policy] = key.split(' ') as [Cell['mta'], string];
  return { mta, policy };
});
