/** The texts of a message on which a rule can have a pattern. */
import type { Config } from '../config/schema.ts';

const CONTENT = ['body', 'attachment', 'url'] as const;
export const PLACES = ['sender', 'recipient', 'helo', 'header', ...CONTENT] as const;
export type RulePlace = (typeof PLACES)[number];

/** Whether any rule asks for what is in a message, beyond its header. */
export function usesContent({ rule }: Config): boolean {
  return rule.some((one) => CONTENT.some((place) => one[place] !== undefined));
}
