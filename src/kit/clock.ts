/** Time as the rooms see it: handed in, so that a test can hold it. */
export interface Clock {
  /** wall time, milliseconds since 1970 */
  nowMs(): number;
  /** time that never steps, milliseconds, for durations and deadlines */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

/** The machine's clock that never steps, in milliseconds: the same in every process, so that roles can compare what they saw. */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
