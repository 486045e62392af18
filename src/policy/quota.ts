/** Earned quota: how many recipients a day somebody may have, by what became of his mail on the days before. Pure. */

/** How a quota is earned: part of the rule "recipients/day", whose limit is the most that it can become. */
export type Earned = {
  /** recipients a day of somebody who has not been seen to send */
  readonly start: number;
  /** percent of recipients from which on a day was a bad one */
  readonly bad: number;
};

/** What one day has seen of somebody. */
export type Day = {
  /** recipients that the far side was asked about */
  readonly asked: number;
  /** of these, refused by the far side for good: not known, or not wanted */
  readonly refused: number;
  /** messages that the far side refused for good */
  readonly bounced: number;
  /** messages that were refused here for good, or would have been */
  readonly blocked: number;
};

export const NO_DAY: Day = { asked: 0, refused: 0, bounced: 0, blocked: 0 };

/** What the quota becomes after this day, and why; undefined when nobody sent. */
export function afterDay(
  quota: number,
  day: Day,
  { bad }: Earned,
  most: number,
): { readonly quota: number; readonly reason: string } | undefined {
  if (day.asked === 0) return undefined;
  const wrong = day.refused + day.bounced + day.blocked;
  const seen = `of ${day.asked} recipients the far side refused ${day.refused}, and ${day.bounced} messages; ${day.blocked} refused here`;
  if (wrong * 100 >= bad * day.asked && wrong > 0)
    return { quota: Math.max(1, Math.floor(quota / 2)), reason: `a bad day: ${seen}` };
  return { quota: Math.min(most, quota * 2), reason: `a clean day: ${seen}` };
}
