/**
 * All that filters want to know of what is in a message, found in one walk: parts, names and kinds of files, what is in
 * archives, the text that people see, and the addresses it points to.
 *
 * Pure: octets in, plain values out, so that it runs on the loop for a small message and in a thread for others.
 */
import { type ArchiveFault, Budget } from './archive/budget.ts';
import { type Entry, isArchive, listArchive, type Listing } from './archive/list.ts';
import { decodedBody } from './decode.ts';
import { readHtml } from './html.ts';
import { isDisguised, KIND_BYTES, type Kind, kindOf } from './kind.ts';
import { type Fault, type Limits, type Part, walk } from './mime.ts';
import { decoded } from './names.ts';

export type Attachment = {
  readonly names: readonly string[];
  readonly type: string;
  readonly kind: Kind;
  /** a program under a name of something else */
  readonly isDisguised: boolean;
  /** of the decoded file; of one that is not looked into, from its encoded length */
  readonly sizeBytes: number;
  readonly hasMacros: boolean;
  readonly archive: { readonly entries: readonly Entry[]; readonly faults: readonly ArchiveFault[] } | undefined;
};

export type Content = {
  readonly attachments: readonly Attachment[];
  /** of all text parts, tags and entities undone, lines ended by LF; at most 256 Ki characters */
  readonly text: string;
  /** as they stand there, each once; at most 500 */
  readonly urls: readonly string[];
  readonly faults: readonly Fault[];
  /** types of all parts, each once */
  readonly types: readonly string[];
};

const MAX_TEXT = 256 * 1024;
/** Of one text part, encoded, and of all of them. */
const MAX_TEXT_BYTES = 1024 * 1024;
const MAX_TEXTS_BYTES = 4 * 1024 * 1024;
const MAX_URLS = 500;
/** Of a longer name the end, where the extension is. */
const MAX_NAME = 1000;
const ZIP_NAME = /\.(?:zip|jar)$/i;
/** In text: up to a blank or what people put around addresses. Bounded, so that it takes one pass. */
const URL_IN_TEXT = /\b(?:https?:\/\/|www\.)[^\s<>"'`\\^{|}]{3,2000}/gi;

/** A message that needs more than the loop can spare. */
export const TOO_MUCH = Symbol('too much for the loop');

/** With `isQuick` a message that has archives is left for a thread. */
export function inspect(bytes: Buffer, limits: Limits, isQuick: true): Content | typeof TOO_MUCH;
export function inspect(bytes: Buffer, limits: Limits, isQuick: false): Content;
export function inspect(bytes: Buffer, limits: Limits, isQuick: boolean): Content | typeof TOO_MUCH {
  const { parts, faults } = walk(bytes, limits);
  const budget = new Budget();
  const attachments: Attachment[] = [];
  const text = new Text();
  for (const part of parts) {
    const isText = part.type.startsWith('text/');
    // Many programs show it, whatever it is called.
    if (isText) text.add(bytes, part);
    if (isText && part.names.length === 0) continue;
    const attachment = attachmentOf(bytes, part, isQuick ? undefined : budget);
    if (attachment === TOO_MUCH) return TOO_MUCH;
    attachments.push(attachment);
  }
  return {
    attachments,
    text: text.text,
    urls: [...text.urls],
    faults: [...faults],
    types: [...new Set(parts.map(({ type }) => type))],
  };
}

function attachmentOf(bytes: Buffer, part: Part, budget: Budget | undefined): Attachment | typeof TOO_MUCH {
  const names = part.names.map((name) => name.slice(-MAX_NAME));
  const { from, to, encoding, type } = part;
  const encodedBytes = to - from;
  // Four octets of base64 are three, and lines end in two.
  const seen = kindOf(decodedBody(bytes, from, to, encoding, Math.ceil((KIND_BYTES * 78) / 57)));
  // A zip is read from its end: programs that unpack it pass over what stands before.
  const kind = seen === 'unknown' && names.some((name) => ZIP_NAME.test(name)) ? 'zip' : seen;
  const facts = {
    names,
    type,
    kind,
    isDisguised: names.some((name) => isDisguised(kind, name)),
    sizeBytes: encoding === 'base64' ? Math.floor((encodedBytes * 57) / 78) : encodedBytes,
  };
  if (kind !== 'office' && !isArchive(kind)) return { ...facts, hasMacros: false, archive: undefined };
  if (!budget) return TOO_MUCH;
  const whole = decodedBody(bytes, from, to, encoding, Number.POSITIVE_INFINITY);
  // The stream that holds macros, by its name in the directory of an OLE file (UTF-16).
  if (kind === 'office')
    return { ...facts, sizeBytes: whole.length, hasMacros: whole.includes(VBA), archive: undefined };
  const listing: Listing = listArchive(whole, kind, names, budget);
  return {
    ...facts,
    sizeBytes: whole.length,
    hasMacros: listing.hasMacros,
    archive: { entries: listing.entries, faults: [...listing.faults] },
  };
}

const VBA = Buffer.from('_VBA_PROJECT', 'utf16le');

class Text {
  text = '';
  #leftBytes = MAX_TEXTS_BYTES;
  readonly urls = new Set<string>();

  add(bytes: Buffer, { from, to, encoding, charset, type }: Part): void {
    const most = Math.min(MAX_TEXT_BYTES, this.#leftBytes);
    if (most <= 0) return;
    this.#leftBytes -= to - from;
    const source = decoded(decodedBody(bytes, from, to, encoding, most), charset);
    const html = type === 'text/html' ? readHtml(source, MAX_URLS) : undefined;
    const shown = html?.text ?? source;
    for (const link of html?.links ?? []) this.#url(link);
    for (const [url] of shown.matchAll(URL_IN_TEXT)) this.#url(url.replace(/[).,;:!?\]]{1,10}$/, ''));
    if (this.text.length < MAX_TEXT)
      this.text += `${shown.slice(0, MAX_TEXT - this.text.length).replaceAll('\r\n', '\n')}\n`;
  }

  #url(url: string): void {
    if (this.urls.size < MAX_URLS && /^(?:https?:|ftp:|www\.|[\\/]{2})/i.test(url)) this.urls.add(url);
  }
}
