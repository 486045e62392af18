/** Files of host names and addresses, one a line: `bad.example` with all below it, `good.example/bad/` with all that begins so. */
import { open } from 'node:fs/promises';
import { hostNameOf } from '../kit/domain.ts';

const MAX_LINE = 2000;
/** Read between two turns of the loop: about a thousand lines. */
const PIECE_BYTES = 16 * 1024;
const SETS = 64;
/** No list has longer names. */
const MAX_LABELS = 12;

export class UrlList {
  readonly file: string;
  /** Rejects when the file cannot be read. */
  readonly ready: Promise<void>;
  /** many small sets: one that grows to 200,000 names is built anew at each doubling, which takes too long for the loop */
  readonly #hosts = Array.from({ length: SETS }, () => new Set<string>());
  readonly #paths = new Map<string, Beginnings>();

  constructor(file: string) {
    this.file = file;
    this.ready = this.#read();
    // It is told to whoever asks.
    this.ready.catch(() => {});
  }

  get size(): number {
    return this.#hosts.reduce((sum, { size }) => sum + size, this.#paths.size);
  }

  /** The line that an address is listed by. */
  match(host: string, path: string): string | undefined {
    for (let at = endOf(host, MAX_LABELS); at >= 0; ) {
      const name = host.slice(at);
      if (this.#setOf(name).has(name)) return name;
      const dot = host.indexOf('.', at);
      at = dot < 0 ? -1 : dot + 1;
    }
    const found = this.#paths.get(host)?.of(path);
    return found === undefined ? undefined : host + found;
  }

  /** A little of the file at a time, so that a large one does not hold the loop. */
  async #read(): Promise<void> {
    await using file = await open(this.file);
    const piece = Buffer.alloc(PIECE_BYTES);
    const text = new TextDecoder();
    let rest = '';
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, PIECE_BYTES);
      const lines = (rest + text.decode(piece.subarray(0, bytesRead), { stream: bytesRead > 0 })).split('\n');
      rest = bytesRead === 0 ? '' : (lines.pop() ?? '').slice(0, MAX_LINE);
      for (const line of lines) this.#add(line);
      if (bytesRead === 0) return;
    }
  }

  #setOf(host: string): Set<string> {
    let sum = host.length;
    for (let at = 0; at < host.length && at < 16; at++) sum += host.charCodeAt(at) * (at + 1);
    return this.#hosts[sum % SETS] as Set<string>;
  }

  #add(line: string): void {
    const text = line.replace(/#.*/, '').trim().slice(0, MAX_LINE);
    if (text === '') return;
    const { host, path } = partsOf(text);
    if (host === '') return;
    if (path === '' || path === '/') this.#setOf(host).add(host);
    else {
      let paths = this.#paths.get(host);
      if (!paths) this.#paths.set(host, (paths = new Beginnings()));
      paths.add(path);
    }
  }
}

/** Of one host: as many look-ups as they have different lengths, however many there are. */
class Beginnings {
  readonly #all = new Set<string>();
  readonly #lengths = new Set<number>();

  add(path: string): void {
    this.#all.add(path);
    this.#lengths.add(path.length);
  }

  /** The one that a path begins with. */
  of(path: string): string | undefined {
    for (const length of this.#lengths) {
      const begin = path.slice(0, length);
      if (begin.length === length && this.#all.has(begin)) return begin;
    }
    return undefined;
  }
}

/** Where the last so many labels of a name begin. */
function endOf(host: string, labels: number): number {
  let at = host.length;
  for (let count = 0; count < labels && at >= 0; count++) at = host.lastIndexOf('.', at - 1);
  return at + 1;
}

/** Host and path of an address, with or without its scheme; the host empty when it is none. */
export function partsOf(url: string): { readonly host: string; readonly path: string } {
  const [, host = '', path = ''] =
    /^(?:[a-z][a-z0-9+.-]{0,20}:)?(?:\/\/)?(?:[^/?#@]{0,200}@)?([^/?#:@\s]{1,253})(?::\d{1,5})?([/?#].*)?$/i.exec(
      url,
    ) ?? [];
  return { host: host.includes('.') ? hostNameOf(host) : '', path };
}

/**
 * The same of an address in a message: as it stands there, and as browsers read it, who take one slash or backslashes for
 * two, and find the host behind the last `@`. Each that has a host, once.
 */
export function placesOf(link: string): readonly { readonly host: string; readonly path: string }[] {
  const text = link.slice(0, MAX_LINE);
  const plain = partsOf(text);
  const url = URL.parse(/^[\\/]/.test(text) ? `http:${text}` : /^www\./i.test(text) ? `http://${text}` : text);
  const host = url?.hostname.includes('.') ? hostNameOf(url.hostname) : '';
  const read = { host, path: url ? url.pathname + url.search + url.hash : '' };
  const isSame = read.host === plain.host && read.path === plain.path;
  return (isSame ? [plain] : [read, plain]).filter((place) => place.host !== '');
}
