/** The server that a host has called, as bare octets: for a connection that is carried unread. */
import { parseAddress } from '../kit/address.ts';
import { OWN_MARK_BITS } from '../kit/own-mark.ts';
import type { End } from '../kit/sockaddr.ts';
import type { ByteSocket } from '../kit/tcp.ts';
import { connectFrom, connectTo } from '../kit/tcp-open.ts';

/** From `source`, which need not be ours; from this machine where it is undefined. Rejects as `connectTcp` does. */
export async function callOriginal(source: string | undefined, to: End, signal: AbortSignal): Promise<ByteSocket> {
  if (source !== undefined) return await connectFrom(source, OWN_MARK_BITS, to, signal);
  return await connectTo(parseAddress(to.address)?.family ?? 4, to.address, to.port, signal);
}
