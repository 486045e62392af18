/**
 * Who looked at a message, and who changed what: one line of JSON each, in a file of the keeper's and its predecessor.
 * A look that cannot be written down is not given.
 */
import { appendFileSync, readFileSync, renameSync, statSync } from 'node:fs';
import type { Clock } from '../kit/clock.ts';

export type AuditLine = {
  readonly at: number;
  readonly who: string;
  /** `cli`, or the address that asked the API */
  readonly from: string;
  readonly what: string;
  /** what it was about: an id, a search, an address */
  readonly about: string;
};

const MAX_BYTES = 10 * 1024 * 1024;
const MAX_ABOUT = 500;

export class Audit {
  readonly #path: string;
  readonly #clock: Clock;
  #bytes: number;
  /** Ends what was cut off, by a power failure or a full disk, so that the next line is whole. */
  #lead: '\n' | '';

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
    this.#bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    this.#lead = this.#bytes > 0 ? '\n' : '';
  }

  /** Throws when it cannot be written. */
  write(line: Omit<AuditLine, 'at'>): void {
    const about = line.about.slice(0, MAX_ABOUT);
    const written = `${this.#lead}${JSON.stringify({ at: this.#clock.nowMs(), ...line, about })}\n`;
    if (this.#bytes > MAX_BYTES) {
      renameSync(this.#path, `${this.#path}.1`);
      this.#bytes = 0;
    }
    this.#lead = '\n';
    appendFileSync(this.#path, written, { mode: 0o600 });
    this.#lead = '';
    this.#bytes += Buffer.byteLength(written);
  }

  /** Newest first. */
  last(limit: number): readonly AuditLine[] {
    const lines: AuditLine[] = [];
    for (const path of [this.#path, `${this.#path}.1`]) {
      for (const line of textOf(path).split('\n').reverse()) {
        if (lines.length === limit) return lines;
        const parsed = lineOf(line);
        if (parsed) lines.push(parsed);
      }
    }
    return lines;
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** A line that was cut off when the power went is none. */
function lineOf(line: string): AuditLine | undefined {
  try {
    return line === '' ? undefined : (JSON.parse(line) as AuditLine);
  } catch {
    return undefined;
  }
}
