/** Which sender addresses whoever sends may use, and to how many a bounce may go. Pure. */
import { applyMode, type Decision } from './decide.ts';

/** One address, all of a domain, or all of the domains below one. In lower case. */
export type SenderPattern = {
  /** undefined is any */
  readonly local: string | undefined;
  readonly domain: string;
  /** of the domains below it, and not of itself */
  readonly isBelow: boolean;
};

/** The null sender is everybody's: bounces have to be possible (RFC 5321 section 4.5.5). */
export function isPermitted(patterns: readonly SenderPattern[], path: string): boolean {
  if (patterns.length === 0 || path === '<>') return true;
  const address = path.slice(1, -1).toLowerCase();
  const at = address.lastIndexOf('@');
  const [local, domain] = [address.slice(0, Math.max(at, 0)), address.slice(at + 1)];
  return patterns.some(
    (one) =>
      (one.local === undefined || one.local === local) &&
      (one.isBelow ? domain.endsWith(`.${one.domain}`) : domain === one.domain),
  );
}

export type SenderRules = {
  readonly mode: string;
  readonly senders: readonly SenderPattern[];
  readonly bounceRecipients: number;
};

/** Of one more recipient; how many were asked about before is asked of a bounce alone. Undefined: nothing is against it. */
export function decideSender(rules: SenderRules, path: string, recipientsBefore: () => number): Decision | undefined {
  if (!isPermitted(rules.senders, path))
    return applyMode({ kind: 'reject', class: 'sender.not-permitted' }, rules.mode);
  if (path === '<>' && recipientsBefore() >= rules.bounceRecipients)
    return applyMode({ kind: 'reject', class: 'sender.bounce' }, rules.mode);
  return undefined;
}
