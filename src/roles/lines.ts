/** What the roles print, taken line by line. */
import type { Readable } from 'node:stream';

const MAX_LINE_BYTES = 256 * 1024;
const END = Buffer.from('\n');

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

/** Calls `onBlock` with whole lines and their ends, as many at once as came: for who only passes them on. */
export function eachBlock(stream: Readable, onBlock: (lines: Buffer) => void): void {
  let rest: Buffer[] = [];
  let restBytes = 0;
  const endRest = (): void => {
    if (restBytes > 0) onBlock(Buffer.concat([...rest, END]));
    rest = [];
    restBytes = 0;
  };
  stream.on('data', (chunk: Buffer) => {
    const end = chunk.lastIndexOf(0x0a) + 1;
    if (end > 0) {
      const lines = chunk.subarray(0, end);
      onBlock(restBytes === 0 ? lines : Buffer.concat([...rest, lines]));
      rest = [];
      restBytes = 0;
    }
    if (end < chunk.length) rest.push(chunk.subarray(end));
    restBytes += chunk.length - end;
    if (restBytes > MAX_LINE_BYTES) endRest();
  });
  stream.on('end', endRest);
  stream.on('error', () => {});
}
