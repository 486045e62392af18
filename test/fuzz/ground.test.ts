/** 41: commands, far replies and configurations in which octets were changed: read without an error, and soon. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exampleToml } from '../../src/config/example.ts';
import { parseConfig } from '../../src/config/load.ts';
import { FarReplyParser } from '../../src/smtp/far-reply.ts';
import { reply } from '../../src/smtp/reply.ts';
import type { Session, SessionCommand } from '../../src/smtp/session.ts';
import { LineReader } from '../../src/wire/lines.ts';
import { survives } from '../kit/mutated.ts';
import { newSession } from '../playbook/playbook.ts';

const octets = (text: string): Buffer => Buffer.from(text, 'latin1');
const lines = (...all: string[]): Buffer => octets(all.map((line) => `${line}\r\n`).join(''));

const SESSIONS = [
  lines('EHLO a.example', 'MAIL FROM:<a@a.example> SIZE=10 BODY=8BITMIME', 'RCPT TO:<b@b.example>', 'DATA', 'QUIT'),
  lines('EHLO a.example', 'MAIL FROM:<> RET=HDRS ENVID=a+2Bb', 'RCPT TO:<"b c"@[192.0.2.1]> NOTIFY=NEVER', 'RSET'),
  lines('HELO [IPv6:2001:db8::1]', 'MAIL FROM:a@a.example', 'RCPT TO:<Postmaster>', 'NOOP x', 'VRFY b', 'HELP'),
  lines('EHLO x', 'STARTTLS', 'AUTH PLAIN AGEAYg==', 'BDAT 10 LAST', 'MAIL FROM:<@r.example:a@a.example>', 'FOO'),
];

/** What the driver does, with a far side that says yes to most. */
function talk(session: Session, bytes: Buffer, isYes: () => boolean): void {
  const reader = new LineReader(2048);
  const open: SessionCommand[] = [...session.step({ kind: 'open' })];
  const settle = (): void => {
    for (let command = open.shift(); command; command = open.shift()) {
      const { kind } = command;
      const far = reply(isYes() ? 250 : 550, 'far');
      if (kind === 'recipient') open.push(...session.step({ kind, slot: command.slot, reply: far }));
      else if (kind === 'body') open.push(...session.step({ kind: 'outcome', reply: far }));
      else if (kind === 'secure') open.push(...session.step({ kind: 'secured' }));
      else if (kind === 'reply') assert.ok(command.reply.code >= 200 && command.reply.code < 600);
    }
  };
  reader.push(bytes);
  settle();
  while (session.wants === 'line') {
    const line = reader.next();
    if (line === undefined) return;
    open.push(
      ...session.step(typeof line === 'string' ? { kind: 'line', line } : { kind: 'line-fault', fault: line.fault }),
    );
    settle();
  }
}

test('Shows 3: 41: commands of hosts', (t) =>
  survives(t.diagnostic.bind(t), SESSIONS, { cases: 5000, minutes: 10 }, (bytes, random) => {
    talk(newSession({ helpUrl: 'https://help.example/' }), bytes, () => !random.oneIn(4));
  }));

const REPLIES = [
  lines('250-mx.example.net', '250-SIZE 1000000', '250-8BITMIME', '250 STARTTLS'),
  lines('220 mx.example.net ESMTP', '354 go ahead', '550-5.1.1 no', '550 5.1.1 such user', '421 4.3.2 bye'),
  lines(`250 ${'x'.repeat(600)}`, '452 4.3.1 full'),
];

/** Lines of 512 octets at most, with nothing but what can be shown. */
const CARRIED = /^(?:[2-5]\d\d(?:[ -][\t\x20-\x7e]{0,506})?\r\n)+$/;

test('Shows 3: 41: replies of servers, whole and in pieces', (t) =>
  survives(t.diagnostic.bind(t), REPLIES, { cases: 5000, minutes: 5 }, (bytes, random) => {
    const seen = (...pieces: Buffer[]): string => {
      const parser = new FarReplyParser();
      const said = pieces.map((piece) => parser.push(piece));
      const replies = said.flatMap((one) => one.replies.map((far) => far.bytes.toString('latin1')));
      for (const far of replies) assert.match(far, CARRIED);
      return JSON.stringify([replies, said.some(({ garbage }) => garbage !== undefined)]);
    };
    const at = random.below(bytes.length + 1);
    assert.equal(seen(bytes.subarray(0, at), bytes.subarray(at)), seen(bytes));
  }));

const CONFIGS = [
  exampleToml(),
  ...globSync(join(import.meta.dirname, '../bad-config/*.toml')).map((path) => readFileSync(path, 'utf8')),
].map((text) => Buffer.from(text));

test('Shows 3: 41: configurations', (t) =>
  survives(t.diagnostic.bind(t), CONFIGS, { cases: 300, minutes: 10 }, async (bytes) => {
    const read = await parseConfig(bytes.toString('utf8'), 'a.toml');
    if (!read.ok) assert.ok(read.errors.length > 0 && read.errors.every(({ message }) => message.startsWith('a.toml')));
  }));
