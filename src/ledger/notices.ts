/** Who is over a limit is told of: the first time, and each n-th after. A limit that nobody hears of does not help. */
import type { Log } from '../kit/log.ts';
import type { Need } from './counters.ts';
import { logged } from './logged.ts';

/** Beyond it counting begins anew: somebody is told of again. */
const MAX_COUNTED = 100_000;

/** Somebody is over a limit, for the `times`-th time. */
export type Reached = Pick<Need['rule'], 'unit' | 'period' | 'limit'> & {
  readonly subject: string;
  readonly identity: string | undefined;
  readonly times: number;
};

export class OverNotices {
  readonly #log: Log;
  readonly #tell: (reached: Reached) => void;
  readonly #times = new Map<string, number>();

  constructor(log: Log, tell: (reached: Reached) => void = () => {}) {
    this.#log = log;
    this.#tell = tell;
  }

  over({ subject, rule: { unit, period, limit } }: Need, every: number): void {
    const key = `${subject} ${unit}/${period}`;
    if (this.#times.size >= MAX_COUNTED) this.#times.clear();
    const times = (this.#times.get(key) ?? 0) + 1;
    this.#times.set(key, times);
    if ((times - 1) % every !== 0) return;
    // Behind the subject may stand an identity (`identitySubject`).
    const [whose = '', identity] = subject.split(/ (.*)/s);
    this.#log.write('warn', 'limit.reached', { ...logged({ subject: whose, identity }), unit, period, limit, times });
    this.#tell({ subject: whose, identity, unit, period, limit, times });
  }
}
