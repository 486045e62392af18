/** Which mode holds for whom: a step's, where there is one, else the configuration's. */
import type { Mode } from '../policy/ladder.ts';
import type { Step } from './language.ts';
import { holds } from './register.ts';

export type Stepping = {
  /** `subjectOf` */
  readonly subject: string;
  /** the network's name */
  readonly network: string;
  /** the configured subscriber has a mode of its own, which a step of its network does not change */
  readonly hasOwnMode: boolean;
};

/** What a step of a network has as its subject. */
export function networkSubject(name: string): string {
  return `network:${name}`;
}

export class StepTable {
  readonly #bySubject: ReadonlyMap<string, Step>;

  constructor(steps: readonly Step[] = []) {
    this.#bySubject = new Map(steps.map((step) => [step.subject, step]));
  }

  get size(): number {
    return this.#bySubject.size;
  }

  /** Undefined: no step holds for it. */
  of({ subject, network, hasOwnMode }: Stepping, nowMs: number): Step | undefined {
    return this.#held(subject, nowMs) ?? (hasOwnMode ? undefined : this.#held(networkSubject(network), nowMs));
  }

  modeOf(whom: Stepping, nowMs: number): Mode | undefined {
    return this.#bySubject.size === 0 ? undefined : this.of(whom, nowMs)?.mode;
  }

  #held(subject: string, nowMs: number): Step | undefined {
    const step = this.#bySubject.get(subject);
    return step && holds(step, nowMs) ? step : undefined;
  }
}
