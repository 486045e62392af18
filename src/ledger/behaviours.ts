/**
 * How subscribers behave, from what the workers record of every attempt: how many names, senders and recipients, how many
 * recipients that the far side does not know, and who has never sent before.
 *
 * Two halves of a window: when the later one is over it becomes the earlier one, so that nothing is older than a window
 * and a half, and nothing has to be looked through.
 */
import type { Attempt } from '../record/events.ts';
import type { BehaviourAnswer } from './inquiry.ts';

type Half = {
  readonly helos: Set<string>;
  readonly senderDomains: Set<string>;
  readonly recipients: Set<string>;
  asked: number;
  unknown: number;
};

/** More than anybody asks for. */
const MAX_EACH = 2000;
const MAX_HELOS = 200;
const MAX_SUBSCRIBERS = 100_000;
/** names and addresses of one half, of all subscribers together: some 100 MB. Beyond it only those that are there count. */
const MAX_VALUES = 1_000_000;
const MAX_KNOWN = 200_000;
/** The far side does not know the mailbox (RFC 5321 section 4.2.3). */
const UNKNOWN_CODES = new Set([550, 551, 553]);

export class Behaviours {
  windowMs: number;
  readonly #startMs: number;
  #halfSinceMs: number;
  #now = new Map<string, Half>();
  #before = new Map<string, Half>();
  /** how many names and addresses `#now` holds */
  #values = 0;
  readonly #known = new Set<string>();

  constructor(windowMs: number, nowMs: number) {
    this.windowMs = windowMs;
    this.#startMs = nowMs;
    this.#halfSinceMs = nowMs;
  }

  /** What has become of one transaction. */
  attempt(subscriber: string, attempt: Attempt, nowMs: number): void {
    const half = this.#half(subscriber, nowMs);
    if (!half || attempt.sender === undefined) return;
    if (attempt.helo !== undefined) this.#put(half.helos, attempt.helo.toLowerCase(), MAX_HELOS);
    const domain = domainOf(attempt.sender);
    if (domain !== '') this.#put(half.senderDomains, domain, MAX_EACH);
    for (const { recipient, code, class: of } of attempt.recipients) {
      this.#put(half.recipients, recipient.toLowerCase(), MAX_EACH);
      // Only what the far side has said of a recipient counts: what we refuse tells nothing of the list.
      if (code === 0 || (code >= 400 && of !== 'upstream.reply')) continue;
      half.asked++;
      if (UNKNOWN_CODES.has(code)) half.unknown++;
    }
    if (this.#known.size < MAX_KNOWN) this.#known.add(subscriber);
  }

  ask(subscriber: string, helo: string, nowMs: number): BehaviourAnswer {
    this.#turn(nowMs);
    const halves = [this.#now.get(subscriber), this.#before.get(subscriber)].filter((half) => half !== undefined);
    const [later, earlier] = halves;
    const count = (of: (half: Half) => Set<string>): number => countOf(later && of(later), earlier && of(earlier));
    const sum = (of: (half: Half) => number): number => halves.reduce((total, half) => total + of(half), 0);
    const isNewHelo = helo !== '' && !halves.some(({ helos }) => helos.has(helo.toLowerCase()));
    return {
      of: 'behaviour',
      helos: count(({ helos }) => helos) + (isNewHelo ? 1 : 0),
      senderDomains: count(({ senderDomains }) => senderDomains),
      recipients: count(({ recipients }) => recipients),
      asked: sum(({ asked }) => asked),
      unknown: sum(({ unknown }) => unknown),
      // Nobody is new to one who has just begun to look.
      // Nor to one who can remember no more.
      isFirst: nowMs - this.#startMs >= this.windowMs && this.#known.size < MAX_KNOWN && !this.#known.has(subscriber),
    };
  }

  #half(subscriber: string, nowMs: number): Half | undefined {
    this.#turn(nowMs);
    let half = this.#now.get(subscriber);
    if (half || this.#now.size >= MAX_SUBSCRIBERS) return half;
    half = { helos: new Set(), senderDomains: new Set(), recipients: new Set(), asked: 0, unknown: 0 };
    this.#now.set(subscriber, half);
    return half;
  }

  #turn(nowMs: number): void {
    const sinceMs = nowMs - this.#halfSinceMs;
    if (sinceMs < this.windowMs / 2) return;
    // Nobody asked for a whole window: the later half is over as well.
    this.#before = sinceMs < this.windowMs ? this.#now : new Map();
    this.#now = new Map();
    this.#values = 0;
    this.#halfSinceMs = nowMs;
  }

  #put(set: Set<string>, value: string, most: number): void {
    const { size } = set;
    if (size >= most || this.#values >= MAX_VALUES) return;
    set.add(value);
    this.#values += set.size - size;
  }
}

/** How many there are in both together. */
function countOf(one: ReadonlySet<string> = NONE, other: ReadonlySet<string> = NONE): number {
  let count = one.size;
  for (const value of other) if (!one.has(value)) count++;
  return count;
}
const NONE: ReadonlySet<string> = new Set();

function domainOf(path: string): string {
  const at = path.lastIndexOf('@');
  return at < 0
    ? ''
    : path
        .slice(at + 1)
        .replace(/>$/, '')
        .toLowerCase();
}
