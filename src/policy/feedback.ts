/** Which refusals somebody is told of in a report (RFC 5965), and as what. */
import type { Class } from './classes.ts';

/** RFC 5965 section 7.3 */
export type FeedbackType = 'abuse' | 'fraud' | 'virus';

const PHISHING = /phish/i;

/**
 * Undefined where there is nothing to report: a mistake of the sending program, a limit, a server's own refusal. What a
 * scanner calls phishing is fraud, and so is an author whose domain says that it is forged.
 */
export function feedbackOf(
  of: Class,
  findings: readonly { readonly name: string; readonly evidence: string }[],
): FeedbackType | undefined {
  const isSpam = of.startsWith('spam.');
  if (!isSpam && of !== 'virus.found' && of !== 'auth.dmarc-reject' && of !== 'auth.dmarc-quarantine') return undefined;
  if (of.startsWith('auth.')) return 'fraud';
  if (findings.some(({ name, evidence }) => PHISHING.test(name) || PHISHING.test(evidence))) return 'fraud';
  return isSpam ? 'abuse' : 'virus';
}
/** What a complaint can be about; `not-spam` says that a message was taken for spam, and counts against nobody. */
export const COMPLAINED = ['abuse', 'fraud', 'virus', 'other', 'not-spam'] as const;
export type Complained = (typeof COMPLAINED)[number];

export function isComplained(word: string): word is Complained {
  return (COMPLAINED as readonly string[]).includes(word);
}

/** What rules of locks and steps count: `complaint` is all of these. No reply has such a class. */
export type ComplaintClass = `complaint.${Exclude<Complained, 'not-spam'>}`;
export const COMPLAINT_CLASSES: readonly string[] = [
  'complaint',
  ...COMPLAINED.filter((one) => one !== 'not-spam').map((one) => `complaint.${one}`),
];
