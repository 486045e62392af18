/** What the roles print, taken line by line. */
import type { Readable } from 'node:stream';

const MAX_LINE_BYTES = 256 * 1024;

/** Calls `onLine` for each line of a stream; a last one without an end counts, one that is too long is cut in pieces. */
export function eachLine(stream: Readable, onLine: (line: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let at = rest.indexOf(0x0a); at >= 0; at = rest.indexOf(0x0a, from)) {
      onLine(rest.subarray(from, at));
      from = at + 1;
    }
    rest = rest.subarray(from);
    if (rest.length > MAX_LINE_BYTES) {
      onLine(rest);
      rest = Buffer.alloc(0);
    }
  });
  stream.on('end', () => {
    if (rest.length > 0) onLine(rest);
  });
  // A pipe that breaks ends with its process; that is seen elsewhere.
  stream.on('error', () => {});
}
