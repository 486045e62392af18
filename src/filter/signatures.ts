/**
 * Which signatures of a message are looked at. Each costs a pass over the body for every way of hashing it: a message with a
 * thousand of them, each with another `l=`, would take minutes. So at most eight, the newest (topmost) first, none with `l=`,
 * and only so much to be hashed.
 */
const MAX_SIGNATURES = 8;
/** A field with ten thousand names in its `h=` is longer. */
const MAX_SIGNATURE_BYTES = 8 * 1024;
/** Octets of the body times ways of hashing it. */
const MAX_HASHED_BYTES = 16 * 1024 * 1024;
const MAX_FIELDS = 1000;
const MAX_HEADER_BYTES = 256 * 1024;

const [TAB, LF, CR, SPACE, COLON] = [9, 10, 13, 32, 58];

type Field = { readonly begin: number; readonly end: number; readonly name: string };

export type Chosen = {
  /** the message without the fields that are not looked at */
  readonly pieces: readonly Buffer[];
  /** what was left out, for people; as long as this is not empty, nothing can be said to be missing */
  readonly left: readonly string[];
};

/** `withBody` is false when the body is not there to be hashed: then no signature is looked at. */
export function chooseSignatures(message: Buffer, withBody: boolean): Chosen {
  const { fields, bodyBegin } = fieldsOf(message);
  if (bodyBegin > MAX_HEADER_BYTES || fields.length > MAX_FIELDS) {
    const from = fields.filter(({ name }) => name === 'from').slice(0, 2);
    const pieces = from.map(({ begin, end }) => message.subarray(begin, Math.min(end, begin + MAX_SIGNATURE_BYTES)));
    return { pieces: [...pieces, Buffer.from('\r\n')], left: ['a header that is too long'] };
  }
  const left = new Set<string>();
  const bodyBytes = message.length - bodyBegin;
  const hashes = new Set<string>();
  let signatures = 0;
  const pieces: Buffer[] = [];
  let from = 0;
  const leaveOut = ({ begin, end }: Field): void => {
    pieces.push(message.subarray(from, begin));
    from = end;
  };
  for (const field of fields) {
    const isArc = field.name.startsWith('arc-');
    if (field.name !== 'dkim-signature' && !isArc) continue;
    if (isArc && field.name !== 'arc-message-signature' && withBody) continue;
    const why = withBody ? fault(message, field, bodyBytes, hashes) : 'a body that is too large';
    const isOneTooMany = !isArc && why === undefined && ++signatures > MAX_SIGNATURES;
    if (why === undefined && !isOneTooMany) continue;
    left.add(why ?? `more than ${MAX_SIGNATURES} signatures`);
    leaveOut(field);
  }
  pieces.push(message.subarray(from));
  return { pieces, left: [...left] };
}

/** Why a signature is not looked at; undefined when it is, and then `hashes` has its way of hashing the body. */
function fault(message: Buffer, { begin, end }: Field, bodyBytes: number, hashes: Set<string>): string | undefined {
  if (end - begin > MAX_SIGNATURE_BYTES) return 'a signature that is too long';
  const tags = tagsOf(message.toString('latin1', begin, end));
  if (tags.has('l')) return 'a signature of a part of the body (l=)';
  const canon = (tags.get('c') ?? '').toLowerCase().split('/')[1] ?? 'simple';
  const way = `${canon} ${(tags.get('a') ?? '').toLowerCase().split('-').at(-1)}`;
  if (hashes.has(way)) return undefined;
  if ((hashes.size + 1) * bodyBytes > MAX_HASHED_BYTES) return 'more to be hashed than is hashed';
  hashes.add(way);
  return undefined;
}

/** RFC 6376 section 3.2. Names in lower case: a reader that folds them must not be given what we have not seen. */
function tagsOf(field: string): Map<string, string> {
  const tags = new Map<string, string>();
  for (const tag of field.slice(field.indexOf(':') + 1).split(';')) {
    const at = tag.indexOf('=');
    if (at > 0) tags.set(tag.slice(0, at).trim().toLowerCase(), tag.slice(at + 1).replace(/\s+/g, ''));
  }
  return tags;
}

/** Up to the first empty line; no more fields than a look at them is worth. */
function fieldsOf(message: Buffer): { readonly fields: readonly Field[]; readonly bodyBegin: number } {
  const fields: { begin: number; end: number; name: string }[] = [];
  let at = 0;
  while (at < message.length && fields.length <= MAX_FIELDS && at <= MAX_HEADER_BYTES) {
    const lf = message.indexOf(LF, at);
    const end = lf < 0 ? message.length : lf + 1;
    const first = message[at];
    if (first === LF || (first === CR && message[at + 1] === LF)) return { fields, bodyBegin: end };
    const last = fields.at(-1);
    if ((first === SPACE || first === TAB) && last) last.end = end;
    else {
      const colon = message.indexOf(COLON, at);
      const name = colon < 0 || colon >= end ? '' : message.toString('latin1', at, Math.min(colon, at + 100));
      fields.push({ begin: at, end, name: name.trim().toLowerCase() });
    }
    at = end;
  }
  return { fields, bodyBegin: at };
}
