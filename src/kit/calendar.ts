/** The month in UTC that holds a time, milliseconds since 1970; the end belongs to the next. */
export function monthOf(ms: number): { readonly start: number; readonly end: number } {
  const time = new Date(ms);
  const [year, month] = [time.getUTCFullYear(), time.getUTCMonth()];
  return { start: Date.UTC(year, month), end: Date.UTC(year, month + 1) };
}
