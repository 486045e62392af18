/** A log that remembers, and that can be waited on. */
import type { Fields, Level, Log } from '../../src/kit/log.ts';
import { until } from './wait.ts';

export type Entry = { readonly level: Level; readonly event: string; readonly fields: Fields };

export type Logbook = Log & {
  readonly entries: readonly Entry[];
  readonly events: () => readonly string[];
  /** Resolves when this event has been written, with its fields. */
  readonly seen: (event: string) => Promise<Fields>;
};

export function logbook(): Logbook {
  const entries: Entry[] = [];
  return {
    entries,
    events: () => entries.map(({ event }) => event),
    write: (level, event, fields = {}) => void entries.push({ level, event, fields }),
    seen: async (event) => {
      await until(() => entries.some((one) => one.event === event), `log event ${event}`);
      return entries.find((one) => one.event === event)?.fields as Fields;
    },
  };
}
