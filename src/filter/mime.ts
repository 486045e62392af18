/**
 * The parts of a message (RFC 2045, 2046), found in one pass over its bytes, without recursion and without a copy.
 *
 * Boundaries are looked up by the whole line, so one that is the beginning of another is not taken for it. What goes past
 * a limit ends the walk: the parts found so far and the limit are the answer, and whoever asked must not call it clean.
 */
import { parameters, readWords } from './names.ts';

export type Encoding = 'identity' | 'base64' | 'quoted-printable';

export type Part = {
  /** lower case, such as `text/plain` */
  readonly type: string;
  readonly charset: string;
  readonly encoding: Encoding;
  /** what the part calls itself, in every way in which a reader may read it; empty when it has no name */
  readonly names: readonly string[];
  /** how many multiparts and messages it lies in */
  readonly depth: number;
  /** its encoded body in the message's bytes */
  readonly from: number;
  readonly to: number;
};

export type Limits = {
  readonly parts: number;
  readonly depth: number;
  /** fields of one header */
  readonly fields: number;
  readonly headerBytes: number;
};

/** `size`: not looked at at all. `ambiguous`: two fields of which readers take one or the other. */
export type Fault = 'size' | 'parts' | 'depth' | 'fields' | 'header-size' | 'ambiguous';

export type Walked = { readonly parts: readonly Part[]; readonly faults: ReadonlySet<Fault> };

type Header = {
  readonly fields: ReadonlyMap<string, string>;
  /** a second Content-Type, Content-Disposition or Content-Transfer-Encoding */
  readonly second: readonly string[];
  readonly end: number;
  readonly fault: Fault | undefined;
};
type Boundary = { readonly level: number; readonly isLast: boolean; readonly begin: number; readonly end: number };

const [LF, CR, TAB, SPACE, DASH, COLON] = [10, 13, 9, 32, 45, 58];
const OF_INTEREST = new Set(['content-type', 'content-disposition', 'content-transfer-encoding']);
/** RFC 2046 allows 70; one that no line can hold is none. */
const MAX_BOUNDARY = 990;
const MAX_FIELD = 16 * 1024;
const ALMOST_PER_PART = 100;
const DASHES = Buffer.from('\n--');

export function walk(bytes: Buffer, limits: Limits): Walked {
  return new Walk(bytes, limits).run();
}

class Walk {
  readonly #bytes: Buffer;
  readonly #limits: Limits;
  readonly #parts: Part[] = [];
  readonly #faults = new Set<Fault>();
  /** lines that begin like a boundary */
  #almost = 0;
  /** open multiparts, outermost first; a boundary that is opened again belongs to the inner one */
  readonly #open: { readonly boundary: string; readonly depth: number }[] = [];
  readonly #levels = new Map<string, number[]>();
  /** of the open boundaries: most lines that begin like one are told from them without becoming a string */
  readonly #hashes = new Set<number>();

  constructor(bytes: Buffer, limits: Limits) {
    this.#bytes = bytes;
    this.#limits = limits;
  }

  run(): Walked {
    let depth = 0;
    let at: number | undefined = 0;
    while (at !== undefined) {
      const header = this.#header(at);
      if (header.fault) this.#faults.add(header.fault);
      const { type, boundary, part } = this.#describe(header, depth);
      if (header.fault || this.#isOver(depth)) break;
      if (boundary !== undefined) this.#push(boundary, depth + 1);
      else if (part.encoding === 'identity' && (type === 'message/rfc822' || type === 'message/global')) {
        at = header.end;
        depth++;
        continue;
      }
      const next = this.#next(header.end);
      if (boundary === undefined)
        this.#parts.push({ ...part, from: header.end, to: next?.begin ?? this.#bytes.length });
      at = this.#after(next);
      // Behind a boundary, what comes lies where its multipart lies.
      depth = this.#open.at(-1)?.depth ?? 0;
    }
    return { parts: this.#parts, faults: this.#faults };
  }

  #isOver(depth: number): boolean {
    if (this.#parts.length >= this.#limits.parts) this.#faults.add('parts');
    if (depth >= this.#limits.depth) this.#faults.add('depth');
    return this.#faults.has('parts') || this.#faults.has('depth');
  }

  #describe({ fields, second }: Header, depth: number) {
    const contentType = fields.get('content-type') ?? '';
    const disposition = fields.get('content-disposition') ?? '';
    const { value, all } = parameters(contentType);
    const type = /^[\w.+-]+\/[\w.+-]+$/.test(value) ? value : 'text/plain';
    const given = type.startsWith('multipart/') ? all.get('boundary')?.[0] : undefined;
    const isOpening = given !== undefined && given !== '' && given.length <= MAX_BOUNDARY;
    if (second.length > 0) this.#faults.add('ambiguous');
    const names = readWords([contentType, disposition, ...second].flatMap((one) => namesIn(one)));
    const part = {
      type,
      charset: (all.get('charset')?.[0] ?? '').toLowerCase(),
      encoding: encodingOf(fields.get('content-transfer-encoding')),
      names,
      depth,
    };
    return { type, boundary: isOpening ? given.trimEnd() : undefined, part };
  }

  #push(boundary: string, depth: number): void {
    const levels = this.#levels.get(boundary);
    this.#hashes.add(hashOf(Buffer.from(boundary, 'latin1'), 0, boundary.length));
    if (levels) levels.push(this.#open.length);
    else this.#levels.set(boundary, [this.#open.length]);
    this.#open.push({ boundary, depth });
  }

  /** Closes the multiparts above a level. */
  #popTo(count: number): void {
    while (this.#open.length > count) {
      const { boundary } = this.#open.pop() as { boundary: string };
      const levels = this.#levels.get(boundary);
      levels?.pop();
      if (levels?.length === 0) this.#levels.delete(boundary);
    }
  }

  /** Where the next part's header begins; past epilogues, which nobody sees. */
  #after(boundary: Boundary | undefined): number | undefined {
    let next = boundary;
    while (next) {
      this.#popTo(next.level + (next.isLast ? 0 : 1));
      if (!next.isLast) return next.end;
      next = this.#next(next.end);
    }
    return undefined;
  }

  /** The next line that is a boundary of an open multipart. */
  #next(from: number): Boundary | undefined {
    if (this.#open.length === 0) return undefined;
    // The line may begin right here.
    const here = this.#isDashes(from) ? this.#boundaryAt(from) : undefined;
    if (here) return here;
    for (let at = this.#bytes.indexOf(DASHES, from); at >= 0; at = this.#bytes.indexOf(DASHES, at + 1)) {
      // Tables of dashes have some such lines; this many are made to cost time.
      if (++this.#almost > ALMOST_PER_PART * this.#limits.parts) {
        this.#faults.add('parts');
        return undefined;
      }
      const found = this.#boundaryAt(at + 1);
      if (found) return found;
    }
    return undefined;
  }

  #isDashes(at: number): boolean {
    return this.#bytes[at] === DASH && this.#bytes[at + 1] === DASH;
  }

  #boundaryAt(begin: number): Boundary | undefined {
    const bytes = this.#bytes;
    let end = bytes.indexOf(LF, begin);
    if (end < 0) end = bytes.length;
    let stop = Math.min(end, begin + MAX_BOUNDARY + 6);
    while (stop > begin + 2 && (bytes[stop - 1] as number) <= SPACE) stop--;
    const isLike =
      this.#hashes.has(hashOf(bytes, begin + 2, stop)) || this.#hashes.has(hashOf(bytes, begin + 2, stop - 2));
    if (!isLike) return undefined;
    const line = bytes.toString('latin1', begin + 2, stop);
    const level = this.#levels.get(line)?.at(-1);
    // The line end before a boundary belongs to it (RFC 2046 section 5.1.1).
    const before = begin >= 2 && bytes[begin - 2] === CR ? begin - 2 : Math.max(0, begin - 1);
    if (level !== undefined) return { level, isLast: false, begin: before, end: end + 1 };
    const last = line.endsWith('--') ? this.#levels.get(line.slice(0, -2))?.at(-1) : undefined;
    return last === undefined ? undefined : { level: last, isLast: true, begin: before, end: end + 1 };
  }

  /** The fields that say what a part is; a boundary line ends a header that has no empty line. */
  #header(from: number): Header {
    const bytes = this.#bytes;
    const fields = new Map<string, string>();
    const second: string[] = [];
    let count = 0;
    let at = from;
    let name: string | undefined;
    let value = '';
    const keep = (): void => {
      if (name === undefined) return;
      if (fields.has(name)) second.push(value);
      else fields.set(name, value);
      name = undefined;
    };
    const done = (end: number, fault?: Fault): Header => {
      keep();
      return { fields, second, end, fault };
    };
    while (at < bytes.length) {
      if (at - from > this.#limits.headerBytes) return done(at, 'header-size');
      let end = bytes.indexOf(LF, at);
      if (end < 0) end = bytes.length;
      const stop = bytes[end - 1] === CR ? end - 1 : end;
      const first = bytes[at];
      if (stop <= at) return done(end + 1);
      if (first === SPACE || first === TAB) {
        if (name !== undefined && value.length < MAX_FIELD) value += bytes.toString('latin1', at, stop);
      } else {
        keep();
        if (first === DASH && this.#open.length > 0 && this.#isDashes(at) && this.#boundaryAt(at)) return done(at);
        if (++count > this.#limits.fields) return done(at, 'fields');
        const colon = bytes.indexOf(COLON, at);
        // No field at all: like every reader we take it for the beginning of the body.
        if (colon < 0 || colon >= stop) return done(at);
        const key = colon - at <= 30 ? bytes.toString('latin1', at, colon).trimEnd().toLowerCase() : '';
        if (OF_INTEREST.has(key)) {
          name = key;
          value = bytes.toString('latin1', colon + 1, Math.min(stop, colon + 1 + MAX_FIELD));
        }
      }
      at = end + 1;
    }
    return done(bytes.length);
  }
}

/** FNV-1a; a line that has a boundary's is compared with it all the same. */
function hashOf(bytes: Buffer, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  return hash;
}

function namesIn(field: string): string[] {
  if (field === '') return [];
  const { all } = parameters(field);
  return ['filename', 'name'].flatMap((key) => all.get(key) ?? []);
}

function encodingOf(field: string | undefined): Encoding {
  const word = field?.trim().toLowerCase();
  return word === 'base64' || word === 'quoted-printable' ? word : 'identity';
}
