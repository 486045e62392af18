/** What a body is, said byte by byte over the whole of it: the reference that the reader is compared with, however it is cut. */
import type { BodyFault } from '../../../src/wire/body.ts';

export type Outcome = {
  /** index behind the terminator, or -1 */
  readonly end: number;
  readonly fault: BodyFault | undefined;
  /** what is kept of a body without a fault; what may be the beginning of the terminator is not */
  readonly kept: string;
  readonly receivedBytes: number;
  readonly lenientEnd: boolean;
};

const CRLF = '\r\n';

export function bodyOf(text: string, maxLineBytes: number, maxSizeBytes: number): Outcome {
  const faults = new Set<BodyFault>();
  let lineAt = 0;
  let lenientEnd = false;
  let end = -1;
  for (let i = 0; i < text.length && end < 0; i++) {
    const [byte, before] = [text[i], i === 0 ? '\n' : text[i - 1]];
    if (byte === '\n' && before !== '\r') faults.add('line-end');
    if (byte !== '\n' && before === '\r') faults.add('line-end');
    if (byte === '\0') faults.add('nul');
    // The CRLF of DATA stands before the first line.
    const soFar = CRLF + text.slice(Math.max(0, i - 4), i + 1);
    if ((i < 5 ? soFar : soFar.slice(2)).endsWith('\r\n.\r\n')) end = i + 1;
    else {
      if (/\n\.\r?\n$/.test(soFar)) lenientEnd = true;
      if (i + 1 - lineAt > maxLineBytes) faults.add('line-length');
    }
    if (byte === '\n') lineAt = i + 1;
  }
  const received = end < 0 ? text : text.slice(0, end - 3);
  const line = text.slice(lineAt);
  const mayEnd = end < 0 && (line === '.' || line === '.\r') && !faults.has('line-end');
  const kept = mayEnd ? received.slice(0, lineAt) : received;
  if (kept.length > maxSizeBytes) faults.add('size');
  const fault = (['line-end', 'nul', 'line-length', 'size'] as const).find((one) => faults.has(one));
  return { end, fault, kept: fault ? '' : kept, receivedBytes: received.length, lenientEnd };
}
