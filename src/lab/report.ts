/** The reporting side of reporter.ts: one JSON line, ready, and the end when standard input ends. */
import { writeSync } from 'node:fs';

/** Written at once and whole: a line must not be lost when the process is killed right after it. */
export function report(line: unknown): void {
  const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}

/** Call when everything listens. */
export function ready(): void {
  report('ready');
  process.stdin.resume();
  process.stdin.once('end', () => process.exit(0));
  process.stdin.once('error', () => process.exit(0));
}

/** `192.0.2.1:25`, `[2001:db8::1]:25` */
export function endpoint(text: string): { host: string; port: number } {
  const match = /^\[?([^\]]+)\]?:(\d+)$/.exec(text);
  if (!match) throw new Error(`${JSON.stringify(text)} is no address and port`);
  return { host: match[1] as string, port: Number(match[2]) };
}
