/**
 * What a network's `log` setting leaves of an attempt, before anything of it is written anywhere.
 *
 * `full` keeps addresses of mail as they are. `hash` puts a keyed hash in their place: the same address gives the same
 * word, so that a pattern shows and a known address can be searched for, but nobody reads it back without the key.
 * `none` leaves them out. Replies and evidence can quote an address, so both settings keep only the codes of these.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Log } from '../kit/log.ts';
import type { Attempt } from './events.ts';

export type Keeping = 'full' | 'hash' | 'none';

/** Stands where an address was that the network's setting leaves out. */
export const NOT_KEPT = '';
const HASH_PREFIX = 'hash:';
const NULL_SENDER = '<>';

/** The address without its angle brackets; the null sender keeps them. */
export function bare(path: string): string {
  return path.length > 2 && path.startsWith('<') && path.endsWith('>') ? path.slice(1, -1) : path;
}

export class Privacy {
  readonly #keyPath: string;
  readonly #log: Log;
  #key: Buffer | undefined;
  #failed = false;

  constructor(keyPath: string, log: Log) {
    this.#keyPath = keyPath;
    this.#log = log;
  }

  /** The attempt as it may be written. */
  apply(attempt: Attempt, keeping: Keeping): Attempt {
    if (keeping === 'full') {
      return {
        ...attempt,
        sender: attempt.sender === undefined ? undefined : bare(attempt.sender),
        recipients: attempt.recipients.map((one) => ({ ...one, recipient: bare(one.recipient) })),
      };
    }
    const word = (path: string): string =>
      path === NULL_SENDER ? path : keeping === 'hash' ? (this.#hash(path) ?? NOT_KEPT) : NOT_KEPT;
    return {
      ...attempt,
      ...(keeping === 'none' && { messageHash: undefined }),
      identity: attempt.identity === undefined ? undefined : word(attempt.identity),
      sender: attempt.sender === undefined ? undefined : word(attempt.sender),
      recipients: attempt.recipients.map((one) => ({ ...one, recipient: word(one.recipient) })),
      reply: codesOf(attempt.reply),
      upstreamReply: attempt.upstreamReply === undefined ? undefined : codesOf(attempt.upstreamReply),
      findings: attempt.findings.map((finding) => ({ ...finding, evidence: '' })),
    };
  }

  /** All the words under which an address may stand in the journal. */
  words(path: string): readonly string[] {
    const plain = bare(path);
    const hash = plain.startsWith(HASH_PREFIX) || plain === NULL_SENDER ? undefined : this.#hash(plain);
    return hash === undefined ? [plain] : [plain, hash];
  }

  #hash(path: string): string | undefined {
    this.#key ??= this.#loadKey();
    if (!this.#key) return undefined;
    const digest = createHmac('sha256', this.#key).update(bare(path).toLowerCase()).digest('hex');
    return `${HASH_PREFIX}${digest.slice(0, 24)}`;
  }

  /** Undefined while the key can be neither read nor made: addresses are then left out, as with `none`. */
  #loadKey(): Buffer | undefined {
    try {
      return this.#readKey() ?? this.#makeKey();
    } catch (error) {
      if (!this.#failed) {
        this.#log.write('error', 'privacy.no-key', {
          path: this.#keyPath,
          error: String(error),
          effect: 'networks with log = "hash" keep no addresses until the key can be made',
        });
      }
      this.#failed = true;
      return undefined;
    }
  }

  #readKey(): Buffer | undefined {
    let text: string;
    try {
      text = readFileSync(this.#keyPath, 'latin1').trim();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    if (/^[0-9a-f]{64}$/.test(text)) return Buffer.from(text, 'hex');
    renameSync(this.#keyPath, `${this.#keyPath}.damaged`);
    this.#log.write('error', 'privacy.key-damaged', {
      path: this.#keyPath,
      effect: 'a new key is made; hashes from before no longer match those from now on',
    });
    return undefined;
  }

  #makeKey(): Buffer {
    const key = randomBytes(32);
    const temporary = `${this.#keyPath}.new`;
    writeFileSync(temporary, `${key.toString('hex')}\n`, { mode: 0o600, flush: true });
    renameSync(temporary, this.#keyPath);
    return key;
  }
}

/** Whether it stands in the journal for an address or name that is not kept. */
export function isHidden(word: string): boolean {
  return word === NOT_KEPT || /^hash:[0-9a-f]{24}$/.test(word);
}

/** The code and, where there is one, the enhanced code of a reply. */
function codesOf(reply: string): string {
  return /^\d{3}(?:[ -][245]\.\d{1,3}\.\d{1,3})?/.exec(reply)?.[0] ?? '';
}
