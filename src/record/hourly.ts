/** So many in an hour of the clock for each subject. What is beyond `MAX_SUBJECTS` has had its share. */
const HOUR_MS = 3_600_000;
const MAX_SUBJECTS = 10_000;

export class Hourly {
  #hour = Number.NaN;
  readonly #counts = new Map<string, number>();

  /** True when this is one of the first `most` of the hour. */
  take(subject: string, most: number, nowMs: number): boolean {
    const hour = hourOf(nowMs);
    if (hour !== this.#hour) this.#counts.clear();
    this.#hour = hour;
    const count = this.#counts.get(subject) ?? 0;
    if (count >= most || (count === 0 && this.#counts.size >= MAX_SUBJECTS)) return false;
    this.#counts.set(subject, count + 1);
    return true;
  }
}

/** The number of the hour since 1970. */
export function hourOf(ms: number): number {
  return Math.floor(ms / HOUR_MS);
}
