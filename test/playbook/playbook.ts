/**
 * A playbook: what is given to the session core, and the commands that must come of it, as text.
 *
 *     > EHLO a.example        a line from the host
 *     > !open                 an event: !open [CLASS], !line-end, !line-length, !rcpt N CODE, !answer N CODE, !outcome CODE [CLASS], !stop CLASS, !secured, !gone
 *     < 250-gw1.example.net   a reply line; a trailing * matches the rest
 *     < !begin, !rcpt <a@b>, !pass-on VERB ARGUMENT, !body, !end CLASS, !secure, !close
 *
 * After each `>` exactly the `<` lines up to the next `>` must come. A book that ends early or says too much fails.
 */
import assert from 'node:assert/strict';
import type { Capabilities } from '../../src/smtp/capabilities.ts';
import type { Class } from '../../src/policy/classes.ts';
import { reply } from '../../src/smtp/reply.ts';
import { Session, type SessionCommand, type SessionEvent, type Slot } from '../../src/smtp/session.ts';
import type { SessionOptions } from '../../src/smtp/verb/dialog.ts';

export const everything: Capabilities = {
  size: 1_000_000,
  eightBitMime: true,
  smtpUtf8: true,
  dsn: true,
  enhancedStatusCodes: true,
  pipelining: true,
  startTls: false,
  chunking: false,
};

export function newSession(options: Partial<SessionOptions> = {}): Session {
  let ids = 0;
  return new Session({
    id: 'S',
    gatewayName: 'gw1.example.net',
    helpUrl: 'https://h/',
    maxRecipients: 100,
    maxErrors: 20,
    maxMessages: 0,
    maxSizeBytes: 500_000,
    offers: () => everything,
    everOffered: () => false,
    isFollowed: () => false,
    newId: () => `T${++ids}`,
    ...options,
  });
}

function eventOf(text: string, slots: Slot[]): SessionEvent {
  if (!text.startsWith('!')) return { kind: 'line', line: text };
  const [kind = '', a = '', b = ''] = text.slice(1).split(' ');
  switch (kind) {
    case 'open':
      return a === ''
        ? { kind }
        : { kind, refuse: { class: a as Class, ...(b !== '' && { as: b as 'defer' | 'reject' }) } };
    case 'line-end':
    case 'line-length':
      return { kind: 'line-fault', fault: kind };
    case 'rcpt': {
      const slot = slots[Number(a)];
      assert.ok(slot, `${a} was asked about`);
      return { kind: 'recipient', slot, reply: reply(Number(b), 'far') };
    }
    case 'answer': {
      const slot = slots[Number(a)];
      assert.ok(slot, `${a} was asked about`);
      const isHello = slot.passedOn?.verb === 'EHLO' && b === '250';
      const offer = { capabilities: { ...everything, startTls: true }, lines: ['far', 'DSN', 'starttls', 'HELP'] };
      return { kind, slot, reply: reply(Number(b), 'far'), ...(isHello && { offer }) };
    }
    case 'outcome':
      return { kind, reply: { ...reply(Number(a), 'far'), ...(b !== '' && { class: b as Class }) } };
    case 'stop':
      return { kind, class: a as Class };
    case 'secured':
    case 'gone':
      return { kind };
    default:
      throw new Error(`no such event: ${text}`);
  }
}

function textOf(command: SessionCommand): string[] {
  switch (command.kind) {
    case 'reply':
      return command.reply.bytes.toString('latin1').trimEnd().split('\r\n');
    case 'recipient':
      return [`!rcpt ${command.recipient.path}${command.recipient.parameters}`];
    case 'pass-on':
      return [`!pass-on ${command.command.verb} ${command.command.argument}`.trimEnd()];
    case 'begin':
      return [`!begin ${command.transaction.from.path}${command.transaction.from.parameters}`];
    case 'end':
      return [`!end ${command.why}`];
    case 'body':
    case 'secure':
    case 'close':
      break;
  }
  return [`!${command.kind}`];
}

/** Plays the book against a session; throws with the place and a diff. */
export function play(book: string, session: Session = newSession()): void {
  const lines = book
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const slots: Slot[] = [];
  for (let at = 0; at < lines.length; ) {
    const given = lines[at++] as string;
    assert.ok(given.startsWith('> '), `line ${at} of the book: expected ">", got ${given}`);
    const want: string[] = [];
    while (lines[at]?.startsWith('< ')) want.push((lines[at++] as string).slice(2));
    const commands = session.step(eventOf(given.slice(2), slots));
    for (const command of commands)
      if (command.kind === 'recipient' || command.kind === 'pass-on') slots.push(command.slot);
    const got = commands.flatMap(textOf);
    const shown = got.map((line, i) => {
      const pattern = want[i];
      return pattern?.endsWith('*') && line.startsWith(pattern.slice(0, -1)) ? pattern : line;
    });
    assert.deepEqual(shown, want, `after "${given}"`);
  }
}
