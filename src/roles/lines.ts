/**
 * What the roles print, passed on line by line.
 *
 * Whoever reads our output may be slow or gone. That must not stop the supervisor, and through full pipes the workers:
 * writing never blocks, waits in a bounded buffer, and beyond it drops whole lines and says how many.
 */
import { write } from 'node:fs';
import type { Readable } from 'node:stream';

const MAX_WAITING_BYTES = 1024 * 1024;
const MAX_LINE_BYTES = 256 * 1024;

export type LineSink = {
  /** Takes a line without its end. */
  readonly line: (text: string | Buffer) => void;
  /** Resolves when all that waits is written, or cannot be. */
  readonly flushed: () => Promise<void>;
};

/** Lines to a descriptor. `writeTo` is node:fs's `write` but in tests. */
export function lineSink(fd: number, writeTo: typeof write = write): LineSink {
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let dropped = 0;
  let busy = false;
  let wake: (() => void)[] = [];

  const idle = (): void => {
    busy = false;
    for (const resolve of wake) resolve();
    wake = [];
  };
  const next = (): void => {
    if (waiting.length === 0) return idle();
    busy = true;
    const chunk = Buffer.concat(waiting);
    waiting = [];
    waitingBytes = 0;
    writeAll(chunk);
  };
  const writeAll = (chunk: Buffer): void => {
    writeTo(fd, chunk, 0, chunk.length, null, (error, bytes) => {
      if (error?.code === 'EAGAIN') setTimeout(writeAll, 20, chunk);
      else if (error) {
        // the reader is gone for good
        waiting = [];
        waitingBytes = 0;
        idle();
      } else if (bytes < chunk.length) writeAll(chunk.subarray(bytes));
      else next();
    });
  };
  const add = (text: string | Buffer): void => {
    const bytes = Buffer.concat([Buffer.from(text), Buffer.from('\n')]);
    waiting.push(bytes);
    waitingBytes += bytes.length;
  };

  return {
    line: (text) => {
      if (waitingBytes + Buffer.byteLength(text) > MAX_WAITING_BYTES) {
        dropped++;
        return;
      }
      if (dropped > 0) add(`{"level":"warn","role":"run","event":"output.dropped","lines":${dropped}}`);
      dropped = 0;
      add(text);
      if (!busy) next();
    },
    flushed: () => (busy ? new Promise((resolve) => wake.push(resolve)) : Promise.resolve()),
  };
}

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
