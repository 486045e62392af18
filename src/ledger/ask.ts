/** One question to the keeper over a connection of its own: how the commands learn what they show. */
import { dialChannel } from '../kit/channel.ts';
import { type FromKeeper, type Question, type ToKeeper, VERSION } from './language.ts';
import { checkFromKeeper } from './language-check.ts';

/** No answer, or the keeper's no: the message says what to do about it. */
export class KeeperError extends Error {
  override readonly name = 'KeeperError';
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'nobody listens there: start the gateway ("systemctl start postern.target", or "postern run")',
  ECONNREFUSED:
    'it has ended: "systemctl status postern-keeper", or look where "postern run" runs; it is restarted by itself',
  EACCES: 'not permitted: run this as root or as a member of the group "postern"',
};

/** Asks and waits for the answer, at most `timeoutMs`. Rejects with a KeeperError. */
export async function askKeeper(path: string, question: Question, timeoutMs = 30_000): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const refuse = (why: string): void => reject(new KeeperError(`the keeper at ${path} cannot be asked: ${why}`));
  const timer = setTimeout(() => refuse(`no answer within ${Math.round(timeoutMs / 1000)} s; try again`), timeoutMs);
  try {
    const peer = await dialChannel<FromKeeper>(path, {
      check: checkFromKeeper,
      onMessage(message) {
        if (message.kind !== 'answer') return;
        if (message.ok) resolve(message.value);
        else reject(new KeeperError(message.error));
      },
      onDown: (why) => refuse(`the connection ended (${why}); is it of another release? Restart the gateway`),
    });
    peer.send({ kind: 'hello', v: VERSION, role: 'cli' } satisfies ToKeeper);
    peer.send({ kind: 'ask', ask: 1, question } satisfies ToKeeper);
    try {
      return await promise;
    } finally {
      void peer.close();
    }
  } catch (error) {
    if (error instanceof KeeperError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new KeeperError(`the keeper at ${path} cannot be asked: ${REASONS[code ?? ''] ?? message}`);
  } finally {
    clearTimeout(timer);
  }
}
