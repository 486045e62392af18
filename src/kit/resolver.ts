/**
 * Look-ups in the DNS with bounds: each has a time-out, what was answered is remembered for a minute, and what one subject
 * (a message) may ask is counted.
 */
import { Resolver } from 'node:dns/promises';

export type RecordType = 'A' | 'AAAA' | 'CNAME' | 'MX' | 'NS' | 'PTR' | 'TXT';

const REMEMBERED_MS = 60_000;
const MAX_REMEMBERED = 10_000;
const MAX_PENDING = 1000;

type Kept = { readonly until: number; readonly answer: Promise<unknown> };

export class Names {
  readonly #resolver: Resolver;
  readonly #timeoutMs: number;
  readonly #kept = new Map<string, Kept>();
  #pending = 0;

  /** `servers` as `address:port`; none are those of the system. */
  constructor({ servers, timeoutMs }: { readonly servers: readonly string[]; readonly timeoutMs: number }) {
    this.#timeoutMs = timeoutMs;
    this.#resolver = new Resolver({ timeout: timeoutMs, tries: 1 });
    if (servers.length > 0) this.#resolver.setServers(servers);
  }

  /** As `dns.promises.resolve` has it; rejects with its codes, `ETIMEOUT` after the time-out. */
  resolve(name: string, type: RecordType): Promise<unknown> {
    const key = `${type} ${name.toLowerCase()}`;
    const nowMs = performance.now();
    const before = this.#kept.get(key);
    if (before && before.until > nowMs) return before.answer;
    const answer = this.#ask(name, type);
    this.#kept.delete(key);
    this.#kept.set(key, { until: nowMs + REMEMBERED_MS, answer });
    if (this.#kept.size > MAX_REMEMBERED) this.#kept.delete(this.#kept.keys().next().value as string);
    answer.catch((error: unknown) => {
      if (!isAnswer(error)) this.#kept.delete(key);
    });
    return answer;
  }

  /** A name server that is there knows the root. Whoever lets his own name servers be silent does not make ours dead. */
  async answersAtAll(): Promise<boolean> {
    try {
      await this.resolve('.', 'NS');
      return true;
    } catch (error) {
      return isAnswer(error);
    }
  }

  async #ask(name: string, type: RecordType): Promise<unknown> {
    if (this.#pending >= MAX_PENDING) throw coded('ETIMEOUT', `${MAX_PENDING} look-ups wait already`);
    this.#pending++;
    let timer: NodeJS.Timeout | undefined;
    try {
      // With several servers the resolver's own time-out is for each of them.
      const late = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(coded('ETIMEOUT', `no answer within ${this.#timeoutMs} ms`)), this.#timeoutMs);
      });
      return await Promise.race([this.#resolver.resolve(name, type), late]);
    } finally {
      clearTimeout(timer);
      this.#pending--;
    }
  }
}

/** What one subject asks: no more than `most`, and whether anybody answered. */
export class Asking {
  readonly #names: Names;
  #left: number;
  #asked = 0;
  #answered = 0;

  constructor(names: Names, most: number) {
    this.#names = names;
    this.#left = most;
  }

  readonly resolve = async (name: string, type: string): Promise<never> => {
    if (this.#left-- <= 0) throw coded('ETIMEOUT', 'too many look-ups');
    this.#asked++;
    try {
      const answer = await this.#names.resolve(name, type as RecordType);
      this.#answered++;
      return answer as never;
    } catch (error) {
      if (isAnswer(error)) this.#answered++;
      throw error;
    }
  };

  /** Something was asked and nothing answered. */
  get isUnanswered(): boolean {
    return this.#asked > 0 && this.#answered === 0;
  }
}

/** That there is nothing is an answer, too. */
function isAnswer(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOTFOUND' || code === 'ENODATA';
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
