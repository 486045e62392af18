/** Messages as filters get them. */
import { tmpdir } from 'node:os';
import type { Mail } from '../../src/filter/filter.ts';
import { Message } from '../../src/filter/message.ts';
import { SpoolBudget, SpooledBody } from '../../src/wire/spool.ts';

/** A message in pieces of `size`. Each character is an octet. */
export function messageOf(text: string | Buffer, size = text.length): Message {
  const body = new SpooledBody(new SpoolBudget(1 << 29), 1 << 28, tmpdir());
  const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
  for (let at = 0; at < bytes.length; at += size) body.append(bytes.subarray(at, at + size));
  return new Message(body);
}

/** The same with an envelope and a host. */
export function mailOf(text: string | Buffer, differing: Partial<Mail> = {}): Mail {
  return {
    source: '198.51.100.10',
    subscriber: '198.51.100.10',
    network: 'customers',
    destination: '203.0.113.25',
    helo: 'host.example',
    sender: 'a@a.example',
    recipients: ['b@b.example'],
    message: messageOf(text),
    ...differing,
  };
}
