/**
 * What EHLO offers. To a host we offer what the far side offers and we can carry; nothing is invented, nothing hidden
 * but what is listed in docs/flow.md (CHUNKING, AUTH, what we do not know).
 */
export type Capabilities = {
  readonly size: number | undefined;
  readonly eightBitMime: boolean;
  readonly smtpUtf8: boolean;
  readonly dsn: boolean;
  readonly enhancedStatusCodes: boolean;
  readonly pipelining: boolean;
  /** of a connection of ours: it has TLS */
  readonly startTls: boolean;
  /** RFC 3030: for our own use towards the far side, never offered to a host */
  readonly chunking: boolean;
};

/** A server that answered HELO only. */
export const noCapabilities: Capabilities = {
  size: undefined,
  eightBitMime: false,
  smtpUtf8: false,
  dsn: false,
  enhancedStatusCodes: false,
  pipelining: false,
  startTls: false,
  chunking: false,
};

/** The keyword lines of a 250 reply to EHLO, without code, the first line (the server's name) left out. */
export function parseCapabilities(keywordLines: readonly string[]): Capabilities {
  const offered = new Map(
    keywordLines.map((line) => {
      const [keyword = '', ...rest] = line.trim().split(/[ =]+/);
      return [keyword.toUpperCase(), rest] as const;
    }),
  );
  const size = offered.get('SIZE')?.[0];
  return {
    // SIZE without a number, or SIZE 0, is the extension without a limit (RFC 1870 section 4).
    size: offered.has('SIZE') ? (size !== undefined && /^\d{1,15}$/.test(size) ? Number(size) : 0) : undefined,
    eightBitMime: offered.has('8BITMIME'),
    smtpUtf8: offered.has('SMTPUTF8'),
    dsn: offered.has('DSN'),
    enhancedStatusCodes: offered.has('ENHANCEDSTATUSCODES'),
    pipelining: offered.has('PIPELINING'),
    startTls: offered.has('STARTTLS'),
    chunking: offered.has('CHUNKING'),
  };
}

/** What a server offers and we carry: as it is decided by, and in the texts of its own lines, the greeting first. */
export type Offer = { readonly capabilities: Capabilities; readonly lines: readonly string[] };

export function isStartTls(line: string): boolean {
  return line.trim().toUpperCase() === 'STARTTLS';
}

/** Keywords that go on to a host where the server answers its commands; docs/flow.md says why the others do not. */
const CARRIED: ReadonlySet<string> = new Set([
  'PIPELINING',
  'SIZE',
  '8BITMIME',
  'SMTPUTF8',
  'DSN',
  'ENHANCEDSTATUSCODES',
  'LIMITS',
  'HELP',
  'VRFY',
  'EXPN',
]);

/**
 * A server's own reply to EHLO as the host gets it: line for line, without the keywords that are not carried. SIZE is
 * lowered to what we take; all else is as it came. `lines` are the texts without code, the first the greeting; `besides` is
 * one more keyword to carry.
 */
export function carriedLines(lines: readonly string[], maxSizeBytes: number, besides?: string): string[] {
  const [greeting = '', ...keywordLines] = lines;
  const carried: string[] = [greeting];
  for (const line of keywordLines) {
    const keyword = (/^[^ =]*/.exec(line)?.[0] ?? '').toUpperCase();
    if (!CARRIED.has(keyword) && keyword !== besides) continue;
    const limit = keyword === 'SIZE' ? parseCapabilities([line]).size : undefined;
    carried.push(limit !== undefined && (limit === 0 || limit > maxSizeBytes) ? `SIZE ${maxSizeBytes}` : line);
  }
  return carried;
}

/** What both of two servers offer: a host may be given to either. */
export function intersect(a: Capabilities, b: Capabilities): Capabilities {
  const sizes = [a.size, b.size];
  const limits = sizes.filter((size): size is number => size !== undefined && size > 0);
  return {
    size: sizes.includes(undefined) ? undefined : limits.length > 0 ? Math.min(...limits) : 0,
    eightBitMime: a.eightBitMime && b.eightBitMime,
    smtpUtf8: a.smtpUtf8 && b.smtpUtf8,
    dsn: a.dsn && b.dsn,
    enhancedStatusCodes: a.enhancedStatusCodes && b.enhancedStatusCodes,
    pipelining: a.pipelining && b.pipelining,
    startTls: a.startTls && b.startTls,
    chunking: a.chunking && b.chunking,
  };
}
