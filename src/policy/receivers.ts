/** Who receives, by the domain of a recipient, and what a receiver's reply says of us. */

/** Domains of one receiver have one reputation of ours in common. Whole domains; `.` at the end: with whatever follows. */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  google: ['gmail.com', 'googlemail.com', 'google.com'],
  microsoft: ['outlook.', 'hotmail.', 'live.', 'msn.com', 'microsoft.com'],
  yahoo: ['yahoo.', 'ymail.com', 'rocketmail.com', 'aol.com', 'aim.com'],
  apple: ['icloud.com', 'me.com', 'mac.com'],
  ionos: ['gmx.', 'web.de', 'mail.com', '1und1.de', 'ionos.'],
  telekom: ['t-online.de', 'magenta.de'],
  proton: ['proton.me', 'protonmail.com', 'pm.me'],
  orange: ['orange.fr', 'wanadoo.fr'],
  'mail.ru': ['mail.ru', 'inbox.ru', 'list.ru', 'bk.ru'],
  yandex: ['yandex.', 'ya.ru'],
  qq: ['qq.com', 'foxmail.com'],
  netease: ['163.com', '126.com', 'yeah.net'],
};

const WHOLE = new Map<string, string>();
const BEGINNINGS: [beginning: string, group: string][] = [];
for (const [group, domains] of Object.entries(GROUPS))
  for (const domain of domains) {
    if (domain.endsWith('.')) BEGINNINGS.push([domain, group]);
    else WHOLE.set(domain, group);
  }

export const OTHER_RECEIVERS = 'others';

export function receiverOf(domain: string): string {
  const lower = domain.toLowerCase();
  return WHOLE.get(lower) ?? BEGINNINGS.find(([beginning]) => lower.startsWith(beginning))?.[1] ?? OTHER_RECEIVERS;
}

/** Lists that receivers name, by a word of their replies. The last is whoever does not say which. */
const LISTS: readonly (readonly [name: string, pattern: RegExp])[] = [
  ['spamhaus', /spamhaus|\b(?:zen|sbl|xbl|pbl|css|dbl)\.|\bsbl\d{4,}/i],
  ['spamcop', /spamcop/i],
  ['barracuda', /barracuda|bl\.b\b/i],
  ['sorbs', /\bsorbs\b/i],
  ['uceprotect', /uceprotect/i],
  ['psbl', /\bpsbl\b/i],
  ['abusix', /abusix/i],
  ['invaluement', /invaluement/i],
  ['mailspike', /mailspike/i],
  ['0spam', /\b0spam\b/i],
  ['proofpoint', /proofpoint|\bpphosted\b/i],
  ['cloudmark', /cloudmark|\bcsi\b/i],
  ['trendmicro', /trend ?micro|mail-abuse\.com/i],
  ['senderscore', /sender ?score/i],
  // Microsoft's own, by the codes of its replies.
  ['microsoft', /\bS3150\b|\bS3140\b|\bAS\(\d{4}\)/],
  ['unnamed', /\b(?:block|black|deny)[ -]?list|\b(?:dns|r)bl\b|\blisted (?:in|at|by|on)\b/i],
];

/** The block list that a refusal (4yz, 5yz) names; undefined when it names none. */
export function listNamedIn(reply: string): string | undefined {
  if (!/^[45]\d\d/.test(reply)) return undefined;
  return LISTS.find(([, pattern]) => pattern.test(reply))?.[0];
}
