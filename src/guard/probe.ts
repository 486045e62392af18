/** One question to one worker: does it answer? Connects to its own listener and reads the greeting. */
import { createConnection } from 'node:net';

const MAX_GREETING_BYTES = 512;

/** Resolves with true when a line that begins with 220 came within the deadline, with false in every other case. */
export function probe(path: string, deadlineMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    let greeting = '';
    const end = (answered: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answered);
    };
    const timer = setTimeout(end, deadlineMs, false);
    socket.on('error', () => end(false));
    socket.on('close', () => end(false));
    socket.on('data', (chunk: Buffer) => {
      greeting += chunk.toString('latin1');
      if (greeting.includes('\n')) end(greeting.startsWith('220'));
      else if (greeting.length > MAX_GREETING_BYTES) end(false);
    });
  });
}
