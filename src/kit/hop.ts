/**
 * One step of a traceroute by TCP: a SYN that lives for so many hops, and who says what became of it. Needs CAP_NET_RAW to
 * hear what routers say.
 *
 * The kernel ends a connection attempt when a router says that its packet died (tcp_v4_err), but not which router; that
 * stands in the ICMP message, which a raw socket is given too. It quotes the packet's ports (RFC 792, RFC 4443), by which
 * the attempt is known.
 */
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Family } from './address.ts';
import { AF_INET, checked, errnoOf, IPPROTO_IPV6, libc, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from './libc.ts';
import { fromSockaddr, SOCKADDR_BYTES, toSockaddr } from './sockaddr.ts';

const { EAGAIN, EALREADY, ECONNREFUSED, EINPROGRESS, EISCONN } = constants.errno;
const SOCK_RAW = 3;
const LOOK_EVERY_MS = 5;
/** after the attempt has failed, for the message that it failed by */
const ICMP_LATE_MS = 100;

/** <linux/in.h>, <linux/in6.h>, and types of ICMP: time exceeded, unreachable. */
const OF = {
  4: { protocol: 1, ttl: { level: 0, name: 2 }, exceeded: 11, unreachable: 3 },
  6: { protocol: 58, ttl: { level: IPPROTO_IPV6, name: 16 }, exceeded: 3, unreachable: 1 },
} as const;

/** `open`, `refused`: somebody answers for the address. `passed`: the packet's life ended at `by`. `stopped`: `by` says no. */
export type Hop =
  | { readonly kind: 'open' | 'refused' | 'silent' }
  | { readonly kind: 'passed' | 'stopped'; readonly by: string };

/** Throws what the system says when the socket cannot be opened, EPERM for one. Never rejects for what the network does. */
export async function askHop(
  { family, address, port, hops }: { family: Family; address: string; port: number; hops: number },
  withinMs: number,
): Promise<Hop> {
  const what = `port ${port} of ${address}`;
  const { protocol, ttl } = OF[family];
  const raw = checked('socket', 'for ICMP', libc.socket(AF_INET[family], SOCK_RAW | FLAGS, protocol));
  const fd = libc.socket(AF_INET[family], SOCK_STREAM | FLAGS, 0);
  try {
    checked('socket', what, fd);
    const life = Buffer.alloc(4);
    life.writeInt32LE(hops);
    checked('setsockopt', what, libc.setsockopt(fd, ttl.level, ttl.name, life, life.length));
    const to = toSockaddr(family, address, port);
    const connect = (): number => (libc.connect(fd, to, to.length) === 0 ? EISCONN : errnoOf());
    let state = connect();
    const from = sourcePort(fd, what);
    let said: Hop | undefined;
    for (let endMs = performance.now() + withinMs; performance.now() < endMs; await sleep(LOOK_EVERY_MS)) {
      said = heard(raw, family, from, port) ?? said;
      if (state === EISCONN) return { kind: 'open' };
      if (state === ECONNREFUSED) return { kind: 'refused' };
      if (said) return said;
      if (state !== EINPROGRESS && state !== EALREADY) endMs = Math.min(endMs, performance.now() + ICMP_LATE_MS);
      else state = connect();
    }
    return { kind: 'silent' };
  } finally {
    libc.close(raw);
    if (fd >= 0) libc.close(fd);
  }
}

const FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC;

function sourcePort(fd: number, what: string): number {
  const end = Buffer.alloc(SOCKADDR_BYTES);
  checked('getsockname', what, libc.getsockname(fd, end, lengthOf(end)));
  return fromSockaddr(end)?.port ?? 0;
}

/** Reads what has come on the raw socket up to the message about our packet. */
function heard(raw: number, family: Family, from: number, to: number): Hop | undefined {
  const message = Buffer.alloc(1500);
  const sender = Buffer.alloc(SOCKADDR_BYTES);
  for (;;) {
    const length = libc.recvfrom(raw, message, message.length, 0, sender, lengthOf(sender));
    if (length < 0) {
      if (errnoOf() !== EAGAIN) checked('recvfrom', 'ICMP', length);
      return undefined;
    }
    const kind = kindOf(message.subarray(0, length), family, from, to);
    const by = fromSockaddr(sender)?.address;
    if (kind && by !== undefined) return { kind, by };
  }
}

/** Pure; undefined for a message about another packet. */
export function kindOf(message: Buffer, family: Family, from: number, to: number): 'passed' | 'stopped' | undefined {
  const { exceeded, unreachable } = OF[family];
  // IPv4 alone comes with its own header, whose length stands in 32-bit words in its first octet.
  const icmp = family === 4 ? message.subarray(((message[0] ?? 0) & 15) * 4) : message;
  const quoted = icmp.subarray(8);
  const tcp = quoted.subarray(family === 4 ? ((quoted[0] ?? 0) & 15) * 4 : 40);
  if (tcp.length < 4 || tcp.readUInt16BE(0) !== from || tcp.readUInt16BE(2) !== to) return undefined;
  if (icmp[0] === exceeded) return 'passed';
  return icmp[0] === unreachable ? 'stopped' : undefined;
}

function lengthOf(buffer: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(buffer.length);
  return length;
}
