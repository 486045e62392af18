/** A relay with short deadlines towards fake servers, and the way of one message through it. */
import { tmpdir } from 'node:os';
import type { TestContext } from 'node:test';
import type { Config } from '../../../src/config/schema.ts';
import { type Clock, systemClock } from '../../../src/kit/clock.ts';
import type { Log } from '../../../src/kit/log.ts';
import type { Extension, FarReply, Relay, RelayTransaction } from '../../../src/relay/relay.ts';
import { createSmarthost, type SmarthostDeps } from '../../../src/relay/smarthost.ts';
import { SpoolBudget, SpooledBody } from '../../../src/wire/spool.ts';
import { type FakeOptions, type FakeUpstream, startFakeUpstream } from '../../fake/upstream.ts';

export type Logged = { readonly level: string; readonly event: string; readonly fields: Record<string, unknown> };

export type Bench = {
  readonly relay: Relay;
  readonly logged: Logged[];
  /** waits until something has been logged `times` times */
  readonly untilLogged: (event: string, times?: number) => Promise<void>;
};

/** A fake server that goes away with the test. */
export async function fakeFor(t: TestContext, options: FakeOptions = {}): Promise<FakeUpstream> {
  const fake = await startFakeUpstream(options);
  t.after(() => fake.close());
  return fake;
}

export type Settings = Partial<Config['smarthost']> & {
  readonly workerCount?: number;
  readonly sendMs?: number;
  readonly readPassword?: () => string;
  readonly clock?: Clock;
};

export function relayFor(
  t: TestContext,
  servers: readonly string[],
  settings: Settings = {},
  predecessor?: Relay,
): Bench {
  const logged: Logged[] = [];
  const watchers = new Set<() => void>();
  const log: Log = {
    write(level, event, fields = {}) {
      logged.push({ level, event, fields });
      for (const watcher of watchers) watcher();
    },
  };
  const { workerCount = 1, sendMs, readPassword, clock = systemClock, ...smarthost } = settings;
  const deps: SmarthostDeps = {
    log,
    clock,
    workerCount,
    ...(sendMs !== undefined && { sendMs }),
    ...(readPassword && { readPassword }),
  };
  const relay = createSmarthost(configFor(servers, smarthost), deps, predecessor);
  t.after(() => relay.close());
  return {
    relay,
    logged,
    untilLogged: (event, times = 1) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`never logged: ${event}`)), 60_000);
        const look = (): void => {
          if (logged.filter((one) => one.event === event).length < times) return;
          clearTimeout(timer);
          watchers.delete(look);
          resolve();
        };
        watchers.add(look);
        look();
      }),
  };
}

export function configFor(servers: readonly string[], smarthost: Partial<Config['smarthost']>): Config {
  const endpoints = servers.map((text) => {
    const [, host = '', port] = /^\[?([^\]]+?)\]?:(\d+)$/.exec(text) ?? [];
    return { host, port: Number(port), isAddress: host !== 'localhost', text };
  });
  const config = {
    gateway: { name: 'gw1.example.net' },
    limits: { messageSize: 50 * 1024 * 1024 },
    smarthost: {
      servers: endpoints,
      tls: 'none',
      trustedLink: false,
      maxConnections: 100,
      connectTimeout: 20_000,
      replyTimeout: 20_000,
      finalTimeout: 20_000,
      idleTimeout: 30_000,
      hold: 30_000,
      refresh: 60_000,
      ...smarthost,
    },
  };
  return config as unknown as Config;
}

export const TRACE = Buffer.from('Received: from host by gw1.example.net; now\r\n');
export const BODY = Buffer.from('From: <a@example.net>\r\nMessage-ID: <1@example.net>\r\n\r\n..dot\r\nend\r\n');

/** A spooled body; all of it in memory, or what is beyond `memoryBytes` in a file. */
export function bodyOf(bytes: Buffer, memoryBytes = bytes.length): SpooledBody {
  const body = new SpooledBody(new SpoolBudget(2 ** 30), memoryBytes, tmpdir());
  for (let at = 0; at < bytes.length; at += 65_536) body.append(bytes.subarray(at, at + 65_536));
  return body;
}

/** Resolves when it is so, looked at in each turn of the loop. */
export async function until(isSo: () => boolean): Promise<void> {
  for (const began = performance.now(); !isSo(); ) {
    if (performance.now() - began > 60_000) throw new Error(`never so: ${isSo.toString()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export function from(path = '<a@example.net>', needs: readonly Extension[] = [], parameters = '') {
  return { path, parameters, needs };
}

export function to(name: string) {
  return { path: `<${name}@example.net>`, parameters: '' };
}

/** The reply on one line: `250 2.0.0 taken as 1`, or `upstream.lost: …`. */
export function said(reply: FarReply): string {
  return reply.kind === 'reply' ? reply.bytes.toString('latin1').trimEnd() : `${reply.class}: ${reply.detail}`;
}

/** What a host would be told: the code of the far side, or of the class, which is 451 for every upstream.*. */
export function codeOf(reply: FarReply): number {
  return reply.kind === 'reply' ? reply.code : 451;
}

export type Outcome = { readonly recipients: readonly FarReply[]; readonly final: FarReply | undefined };

/** One message in lockstep, as most hosts send; `final` is undefined when no recipient was accepted. */
export async function deliver(
  relay: Relay,
  recipients: readonly string[] = ['b'],
  bytes: Buffer = BODY,
  sender = from(),
): Promise<Outcome> {
  const transaction = relay.begin(sender, 'ID');
  const replies: FarReply[] = [];
  for (const name of recipients) replies.push(await transaction.recipient(to(name)));
  return { recipients: replies, final: await finish(transaction, replies, bytes) };
}

export async function finish(
  transaction: RelayTransaction,
  replies: readonly FarReply[],
  bytes: Buffer = BODY,
): Promise<FarReply | undefined> {
  if (!replies.some((reply) => codeOf(reply) < 300)) {
    transaction.abandon();
    return undefined;
  }
  transaction.bodyBegins();
  const body = bodyOf(bytes);
  const final = await transaction.send(TRACE, body);
  body.release();
  return final;
}
