/**
 * A mail of our own, composed by the keeper: through the smarthost as hosts' mail goes, with its TLS and its credentials. It is
 * no connection of a host, so nothing intercepts it, no filter looks at it and no record is made of it.
 */
import type { Mailed } from '../ledger/client.ts';
import type { FarReply } from '../relay/relay.ts';
import { newId } from '../kit/ids.ts';
import { SpooledBody } from '../wire/spool.ts';
import type { Rooms } from './rooms.ts';

/** Whose turn it is among those that wait for a connection. */
const OURS = 'own mail';

/** `bytes`: as on the wire but for the dots. Never rejects. */
export async function sendOwn(rooms: Rooms, to: string, bytes: Buffer): Promise<Mailed> {
  const spool = new SpooledBody(rooms.budget, rooms.config.limits.bodyMemory, rooms.spoolDir);
  const isEightBit = bytes.some((octet) => octet >= 128);
  const relay = rooms.relay.begin(
    {
      path: '<>',
      parameters: isEightBit ? ' BODY=8BITMIME' : '',
      needs: isEightBit ? ['8BITMIME'] : [],
    },
    newId(rooms.clock.nowMs()),
    OURS,
  );
  try {
    if (!spool.append(stuffed(bytes))) return { code: 0, reason: 'no room for it' };
    const answer = await relay.recipient({ path: `<${to}>`, parameters: '' });
    if (answer.kind === 'failure' || answer.code >= 300) return mailedAs(answer);
    relay.bodyBegins();
    return mailedAs(await relay.send(Buffer.alloc(0), spool));
  } catch (error) {
    return { code: 0, reason: String(error) };
  } finally {
    relay.abandon();
    spool.release();
  }
}

/** Codes alone: the far side's text can quote an address. */
function mailedAs(far: FarReply): Mailed {
  if (far.kind === 'failure') return { code: far.code ?? 0, reason: far.class };
  return { code: far.code, reason: far.code < 300 ? '' : 'upstream.reply' };
}

/** RFC 5321 section 4.5.2 */
function stuffed(bytes: Buffer): Buffer {
  return Buffer.from(bytes.toString('latin1').replace(/(^|\r\n)\./g, '$1..'), 'latin1');
}
