/**
 * What a process prints, line by line.
 *
 * Whoever reads our output may be slow or gone. That must not stop the supervisor or a role, and through full pipes the
 * workers: writing never blocks, waits in a bounded buffer, and beyond it drops whole lines and says how many.
 *
 * What one turn of the loop says goes out in one write. Nothing is left to another thread, and `writeRest` belongs into
 * the process's 'exit': then an end by itself, by an error that nobody caught or by process.exit overtakes no line.
 */
import { writeSync } from 'node:fs';

const MAX_WAITING_BYTES = 4 * 1024 * 1024;
/** as much as a pipe takes: so much is written before the turn is over */
const WRITE_BYTES = 64 * 1024;
const RETRY_MS = 5;

export type LineSink = {
  /** Takes a line without its end. */
  readonly line: (text: string) => void;
  /** Takes whole lines with their ends, all of them or none. */
  readonly block: (lines: Buffer) => void;
  /** Resolves when all that waits is written, or cannot be. */
  readonly flushed: () => Promise<void>;
  /** In a process that ends now: writes what waits, as far as it is taken at once. */
  readonly writeRest: () => void;
};

type Write = (fd: number, chunk: Buffer, done: (error: NodeJS.ErrnoException | null, bytes: number) => void) => void;

/**
 * At once, and never waiting: the descriptor says EAGAIN when it is full. A write left to another thread could be
 * overtaken by the end of the process.
 */
const writeNow: Write = (fd, chunk, done) => {
  let bytes: number;
  try {
    bytes = writeSync(fd, chunk);
  } catch (error) {
    return done(error as NodeJS.ErrnoException, 0);
  }
  done(null, bytes);
};

/** Lines to a descriptor. `role` is who says that lines were dropped; `writeTo` is for tests. */
export function lineSink(fd: number, role = 'run', writeTo: Write = writeNow): LineSink {
  unblock(fd);
  let waiting: Buffer[] = [];
  /** lines that came after `waiting` */
  let text = '';
  let waitingBytes = 0;
  let dropped = 0;
  let soon: NodeJS.Immediate | undefined;
  let busy = false;
  /** taken from what waits and to be tried again, so in no write just now */
  let held: Buffer | undefined;
  let wake: (() => void)[] = [];

  const idle = (): void => {
    busy = false;
    for (const resolve of wake) resolve();
    wake = [];
  };
  const sayDropped = (): void => {
    if (dropped > 0) add(`{"level":"warn","role":"${role}","event":"output.dropped","lines":${dropped}}\n`);
    dropped = 0;
  };
  const takeAll = (): Buffer => {
    if (text !== '') waiting.push(Buffer.from(text));
    const chunk = waiting.length === 1 ? (waiting[0] as Buffer) : Buffer.concat(waiting);
    waiting = [];
    text = '';
    waitingBytes = 0;
    return chunk;
  };
  const next = (): void => {
    clearImmediate(soon);
    soon = undefined;
    sayDropped();
    if (waitingBytes === 0) return idle();
    busy = true;
    writeAll(takeAll());
  };
  const writeAll = (chunk: Buffer): void => {
    writeTo(fd, chunk, (error, bytes) => {
      if (error?.code === 'EAGAIN') {
        held = chunk;
        setTimeout(() => {
          held = undefined;
          writeAll(chunk);
        }, RETRY_MS);
      } else if (error) {
        // The reader is gone, or the disk is full: the next line tries again.
        dropped += linesIn(chunk) + linesIn(takeAll());
        idle();
      } else if (bytes < chunk.length) writeAll(chunk.subarray(bytes));
      else next();
    });
  };
  const add = (lines: string): void => {
    text += lines;
    waitingBytes += Buffer.byteLength(lines);
  };
  const hasRoomFor = (bytes: number): boolean => waitingBytes + bytes <= MAX_WAITING_BYTES;
  const added = (): void => {
    if (busy) return;
    if (waitingBytes >= WRITE_BYTES) next();
    else soon ??= setImmediate(next);
  };

  return {
    line: (line) => {
      if (!hasRoomFor(Buffer.byteLength(line) + 1)) {
        dropped++;
        return;
      }
      sayDropped();
      add(`${line}\n`);
      added();
    },
    block: (lines) => {
      if (!hasRoomFor(lines.length)) {
        dropped += linesIn(lines);
        return;
      }
      sayDropped();
      if (text !== '') waiting.push(Buffer.from(text));
      text = '';
      waiting.push(lines);
      waitingBytes += lines.length;
      added();
    },
    flushed: () => {
      if (!busy) next();
      return busy ? new Promise((resolve) => wake.push(resolve)) : Promise.resolve();
    },
    writeRest: () => {
      sayDropped();
      const rest = Buffer.concat([held ?? Buffer.of(), takeAll()]);
      try {
        for (let at = 0; at < rest.length; ) at += writeSync(fd, rest, at);
      } catch {
        // full or gone: nobody is left to tell
      }
    },
  };
}

/**
 * Makes a pipe or socket at 1 or 2 answer EAGAIN when it is full. Node does so for its own stream over it; without that
 * a write of ours would hold a thread until somebody reads, and the end of the process with it.
 */
function unblock(fd: number): void {
  void (fd === 1 ? process.stdout : fd === 2 ? process.stderr : undefined);
}

function linesIn(chunk: Buffer): number {
  let lines = 0;
  for (let at = chunk.indexOf(0x0a); at >= 0; at = chunk.indexOf(0x0a, at + 1)) lines++;
  return lines;
}
