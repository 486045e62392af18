/**
 * One JSON object a line on standard output, for journald or a file.
 *
 * Strings are hostile: they may carry what a stranger typed after EHLO. JSON.stringify escapes C0 controls; DEL, C1,
 * line separators and bidirectional controls are escaped here as well, and every string is cut at 1,000 characters.
 */
import { writeSync } from 'node:fs';

export type Level = 'debug' | 'info' | 'warn' | 'error';
export type Fields = Readonly<Record<string, unknown>>;

export interface Log {
  write(level: Level, event: string, fields?: Fields): void;
}

const MAX_STRING = 1000;
// biome-ignore format: one range per group
const UNSAFE = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** JSON text of a value with every string cut and no raw control or direction character in it. */
export function safeJson(value: unknown): string {
  const text = JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'string' && item.length > MAX_STRING) return `${item.slice(0, MAX_STRING)}…`;
    return typeof item === 'bigint' ? item.toString() : item;
  });
  return text.replace(UNSAFE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** A log that writes each line at once; a full or closed output loses the line, never the caller. */
export function stdoutLog(role: string): Log {
  return {
    write(level, event, fields) {
      const line = safeJson({ at: new Date().toISOString(), level, role, event, ...fields });
      try {
        writeSync(1, `${line}\n`);
      } catch {
        // standard output gone or full: mail goes on
      }
    },
  };
}

export const silentLog: Log = { write() {} };
