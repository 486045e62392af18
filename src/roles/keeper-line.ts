/** Who is locked sees why, and may end it so often as the configuration lets it: known by the line's address alone. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Config } from '../config/schema.ts';
import { parsePrefix } from '../kit/address.ts';
import type { Clock } from '../kit/clock.ts';
import { PrefixMap } from '../kit/prefix-map.ts';
import type { Lock } from '../ledger/language.ts';
import type { LockHistory } from '../ledger/lockhistory.ts';
import type { Locks } from '../ledger/locks.ts';
import { holds } from '../ledger/register.ts';
import type { Evidence, LineLock, LineRoom } from '../panel/line-room.ts';
import { Refusal } from '../panel/refusal.ts';
import type { Attempt } from '../record/events.ts';
import type { Journal } from '../record/journal.ts';
import type { KeeperSteps } from './keeper-steps.ts';

/** Who has unlocked, in lists and logs. */
export const UNLOCK_PAGE = 'the unlock page';
const RULE = /^rule /;
const MAX_LOCKS = 10;
const MAX_EVENTS = 10_000;

export type LineDeps = {
  readonly config: () => Config;
  readonly clock: Clock;
  readonly locks: Locks;
  readonly history: LockHistory;
  readonly steps: Pick<KeeperSteps, 'whoIs'>;
  readonly journal: Pick<Journal, 'search'>;
  /** workers and guard are to hear of it */
  readonly tell: () => void;
};

export function keeperLine({ config, clock, locks, history, steps, journal, tell }: LineDeps): LineRoom {
  /** A restart makes older pages worth nothing. */
  const key = randomBytes(32);
  const wordOf = (address: string, { subject, identity = '', since }: Lock): string =>
    createHmac('sha256', key)
      .update(JSON.stringify([address, subject, identity, since]))
      .digest('base64url');

  /** Of the address, of a prefix around it, or of the subscriber; what a tenant's lock is about is not the line's to know. */
  const locksOf = (address: string): readonly Lock[] => {
    let own: string;
    try {
      own = steps.whoIs(address).subject;
    } catch {
      return [];
    }
    const nowMs = clock.nowMs();
    return locks
      .list()
      .filter((lock) => holds(lock, nowMs) && isAbout(lock.subject, address, own))
      .slice(0, MAX_LOCKS);
  };

  /** What a rule has locked for a while; what stays until somebody looks at it, or was locked by hand, is not the line's to end. */
  const leftOf = ({ subject, identity, who, until }: Lock): number => {
    const { selfUnlocks, selfUnlockPeriod } = config().locks;
    if (selfUnlocks === 0 || !RULE.test(who) || until === undefined) return 0;
    const since = clock.nowMs() - selfUnlockPeriod;
    const used = history
      .list(MAX_EVENTS)
      .filter(
        ({ at, what, who: by, lock }) =>
          at >= since &&
          what === 'unlocked' &&
          by === UNLOCK_PAGE &&
          lock.subject === subject &&
          lock.identity === identity,
      ).length;
    return Math.max(0, selfUnlocks - used);
  };

  const evidenceOf = async (lock: Lock): Promise<readonly Evidence[]> => {
    const found = await Promise.all(
      (lock.evidence ?? []).map(async (id) => (await journal.search({ id, limit: 1 })).rows[0]),
    );
    return found.flatMap((attempt) => (attempt ? [redacted(attempt)] : []));
  };

  return {
    async look(address) {
      const found = locksOf(address);
      if (found.length === 0) return undefined;
      return Promise.all(
        found.map(
          async (lock): Promise<LineLock> => ({
            word: wordOf(address, lock),
            identity: lock.identity,
            since: lock.since,
            until: lock.until,
            counted: RULE.test(lock.who) ? lock.reason : undefined,
            evidence: await evidenceOf(lock).catch(() => []),
            unlocksLeft: leftOf(lock),
          }),
        ),
      );
    },
    unlock(address, word) {
      const lock = locksOf(address).find((one) => isSame(wordOf(address, one), word));
      if (!lock) return Promise.reject(new Refusal(403, 'this line is not locked so any more; open the page again'));
      if (leftOf(lock) === 0)
        return Promise.reject(new Refusal(403, 'this lock is ended by whoever runs the network, and not here'));
      locks.unlock(lock.subject, UNLOCK_PAGE, lock.identity);
      tell();
      return Promise.resolve();
    },
  };
}

function isAbout(subject: string, address: string, own: string): boolean {
  const prefix = parsePrefix(subject);
  return prefix ? new PrefixMap([[prefix, true]]).find(address) === true : subject === own;
}

function isSame(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a), Buffer.from(b)];
  return one.length === other.length && timingSafeEqual(one, other);
}

function redacted({ at, class: of, sender, recipients }: Attempt): Evidence {
  return { at, class: of, from: masked(sender), to: masked(recipients[0]?.recipient) };
}

/** `alice@customer.example` is `a…@customer.example`. */
function masked(address: string | undefined): string {
  if (address === undefined || address === '' || address.startsWith('hash:')) return '';
  const at = address.lastIndexOf('@');
  return at < 1 ? '…' : `${String.fromCodePoint(address.codePointAt(0) ?? 0)}…${address.slice(at)}`;
}
