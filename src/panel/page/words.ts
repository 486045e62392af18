/** Times, numbers and addresses as people read them. */
const two = (value: number): string => String(value).padStart(2, '0');

/** `2026-11-23 14:05:09`, in the browser's own zone */
export function time(at: number): string {
  const d = new Date(at);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

export function ago(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172_800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86_400)} d`;
}

export function took(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function bytes(size: number): string {
  if (size < 1024) return `${size} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = size;
  let unit = -1;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(1)} ${units[unit]}`;
}

/** What a stranger typed may hide or turn around what stands beside it: such characters are spelt out. */
/** `but`: what may stand as it is. */
export function shown(text: string, but = ''): string {
  return text.replace(
    // oxlint-disable-next-line no-control-regex -- these are what it is for
    /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (each) => (but.includes(each) ? each : `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );
}

/** An address, or what is kept of it. */
export function address(kept: string | undefined): string {
  if (kept === undefined) return '–';
  return kept === '' ? '(not kept)' : shown(kept);
}
