/** Connections that are opened and say nothing, from hosts inside. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Namespace } from '../../src/lab/network.ts';

const IDLE = fileURLToPath(new URL('./idle-main.ts', import.meta.url));

export type Holder = {
  /** connections that were greeted, and are held */
  readonly open: number;
  readonly refused: number;
  /** what the first refused one was told */
  readonly first: string;
  /** Ends them all; how many were open until then. */
  end(): Promise<number>;
};

/** Opens so many connections to port 25 of `to`, by turns from each source, and holds those that are greeted. */
export async function hold(
  inside: Namespace,
  connections: number,
  to: string,
  sources: readonly string[],
): Promise<Holder> {
  const child = inside.spawn(process.execPath, [IDLE, to, '25', String(connections), ...sources], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => JSON.parse((await lines.next()).value as string);
  const said = (await next()) as { open: number; refused: number; first: string };
  return {
    ...said,
    async end() {
      const gone = once(child, 'exit');
      child.stdin?.end();
      const { held } = (await next()) as { held: number };
      await gone;
      return held;
    },
  };
}
