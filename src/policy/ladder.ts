/** The modes in the order of the ladder: each takes more from a host than the one before. Pure. */
export const LADDER = ['exempt', 'observe', 'enforce', 'smarthost-only', 'block'] as const;
export type Mode = (typeof LADDER)[number];

export function isStricter(mode: Mode, than: Mode): boolean {
  return LADDER.indexOf(mode) > LADDER.indexOf(than);
}

export function isMode(text: string): text is Mode {
  return (LADDER as readonly string[]).includes(text);
}

/** Nothing of such a host reaches port 25. */
export function isClosed(mode: Mode): boolean {
  return isStricter(mode, 'enforce');
}
