/** When something ends. */
import { field, type Spec } from '../field.ts';

/** A day, which ends with it, or a time; both in UTC. */
export function endMs(spec: Spec) {
  const type = 'a day such as "2027-01-31", to its end, or a time such as "2027-01-31T18:00Z"';
  return field<number>(
    type,
    (raw) => {
      const day = typeof raw === 'string' && /^\d{4}-\d{2}-\d{2}$/.test(raw);
      const isTime = typeof raw === 'string' && /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?Z$/.test(raw);
      const at = day || isTime ? Date.parse(raw) : Number.NaN;
      return Number.isNaN(at) ? { expected: type } : { value: day ? at + 86_400_000 : at };
    },
    spec,
  );
}
