/**
 * Mail of our own: composed here, handed to a worker to be sent. From the null sender, so that nothing answers it (RFC 3834),
 * with a mark that we know again: what is refused with it is one of ours that came round, and leads to no other.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import MimeNode from 'nodemailer/lib/mime-node';

export type OwnMail = {
  readonly to: string;
  /** as on the wire but for the dots: lines end in CRLF */
  readonly bytes: Buffer;
};

/** Who writes, and from where. */
export type Writer = {
  readonly from: string;
  /** `gateway.name` */
  readonly gateway: string;
  readonly mark: Mark;
};

export const MARK = 'X-Postern-Report';
const LINE_END = '\r\n';

/** The mark: a word, and a keyed hash that nobody else can make. Known again until the keeper's next start. */
export class Mark {
  readonly #key = randomBytes(32);

  make(): string {
    const word = randomBytes(12).toString('hex');
    return `${word}.${this.#hash(word)}`;
  }

  /** Whether a header (latin1) has one of ours in its first 64 KiB. */
  isIn(header: string): boolean {
    for (const [, word = '', hash = ''] of header
      .slice(0, 65_536)
      .matchAll(/^X-Postern-Report: (\w{24})\.(\w{64})\r?$/gim))
      if (timingSafeEqual(Buffer.from(hash), Buffer.from(this.#hash(word)))) return true;
    return false;
  }

  #hash(word: string): string {
    return createHmac('sha256', this.#key).update(word).digest('hex');
  }
}

export type Part =
  | { readonly kind: 'text'; readonly text: string }
  /** a file beside the text */
  | { readonly kind: 'file'; readonly name: string; readonly type: string; readonly text: string }
  /** exactly these octets, in 7bit or 8bit: no encoding may lie over a message (RFC 2046 section 5.2.1) */
  | { readonly kind: 'exact'; readonly type: string; readonly bytes: Buffer };

/** `type` is the whole Content-Type, without its boundary. */
export async function compose(
  { from, gateway, mark }: Writer,
  { to, subject, type, parts, nowMs }: MailParts,
): Promise<OwnMail> {
  // Nobody can have put a boundary with 128 random bits into what is quoted.
  const root = new MimeNode(type, { hostname: gateway, baseBoundary: randomBytes(16).toString('hex') });
  root.setHeader([
    { key: 'From', value: { name: 'Postern', address: from } },
    { key: 'To', value: to },
    { key: 'Subject', value: subject },
    { key: 'Date', value: new Date(nowMs).toUTCString().replace('GMT', '+0000') },
    { key: 'Auto-Submitted', value: 'auto-generated' },
    { key: MARK, value: { prepared: true, value: mark.make() } },
  ]);
  for (const part of parts) {
    if (part.kind === 'text') root.createChild('text/plain; charset=utf-8').setContent(crlf(part.text));
    else if (part.kind === 'file')
      root.createChild(part.type, { filename: part.name }).setContent(Buffer.from(part.text, 'utf8'));
    else root.createChild(part.type).setRaw(Buffer.concat([Buffer.from(headOf(part), 'latin1'), part.bytes]));
  }
  return { to, bytes: await root.build() };
}

export type MailParts = {
  readonly to: string;
  readonly subject: string;
  readonly type: string;
  readonly parts: readonly Part[];
  readonly nowMs: number;
};

export function hasEightBit(bytes: Buffer): boolean {
  return bytes.some((octet) => octet >= 128);
}

function headOf({ type, bytes }: { readonly type: string; readonly bytes: Buffer }): string {
  const encoding = hasEightBit(bytes) ? '8bit' : '7bit';
  return [`Content-Type: ${type}`, `Content-Transfer-Encoding: ${encoding}`, '', ''].join(LINE_END);
}

function crlf(text: string): string {
  return text.replace(/\r?\n/g, LINE_END);
}
