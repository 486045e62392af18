/** A peer: something that stands between hosts and the smarthost. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Namespace } from '../../src/lab/network.ts';
import type { Family, Stage } from '../stage.ts';

export type PeerName =
  | 'direct'
  | 'haproxy'
  | 'haproxy-tproxy'
  | 'postern'
  | 'postfix'
  | 'postfix-queue'
  | 'haraka'
  | 'naive';

export type PeerKind = {
  readonly name: PeerName;
  readonly about: string;
  /** answers the final dot before the smarthost has: its rate is that of what has arrived there */
  readonly queues?: true;
  /** answers RCPT by itself */
  readonly rejectsItself?: true;
  /** idle sessions that it can hold; default 5,000 */
  readonly idleSessions?: number;
  /** Starts it on the stage's gateway. Resolves when it serves; rejects with its own words when it does not. */
  readonly start: (stage: Stage) => Promise<Peer>;
};

export type Peer = {
  readonly version: string;
  /** where a host connects to reach it */
  readonly target: Readonly<Record<Family, string>>;
  /** what has to end before the stage is closed */
  readonly close: () => Promise<void>;
};

const READY_MS = 30_000;

/** Resolves when a whole banner comes from there. */
export async function untilServes(inside: Namespace, target: string): Promise<void> {
  const deadline = performance.now() + READY_MS;
  const script = `const { connect } = require('node:net');
    const [, host, port] = /^\\[?(.*?)\\]?:(\\d+)$/.exec(process.argv[1]);
    const socket = connect({ host, port }, () => {});
    socket.setTimeout(2000, () => process.exit(1));
    socket.on('error', () => process.exit(1)).on('end', () => process.exit(1));
    socket.once('data', (bytes) => process.exit(bytes.toString().startsWith('220') ? 0 : 1));`;
  for (;;) {
    const { code } = await inside.run(process.execPath, ['-e', script, target]);
    if (code === 0) return;
    if (performance.now() > deadline) throw new Error(`nothing answers at ${target}`);
    await sleep(100);
  }
}
