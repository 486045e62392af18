import { parseArgs } from 'node:util';
import { type Class, classes, enhancedCode, entryOf, isClass } from '../policy/classes.ts';
import { canonical } from '../kit/address.ts';
import type { Whose } from '../ledger/language.ts';
import type { Attempt } from '../record/events.ts';
import type { Complaint } from '../ledger/complaints.ts';
import type { LogAnswer } from '../record/query.ts';
import { ask, askHelp, askOptions, whoAmI } from './ask.ts';
import { type Command, UsageError } from './command.ts';
import { address } from './log.ts';
import { shown, time } from './show.ts';
import { whoseText } from './whose.ts';

const MAX_STORIES = 20;
const MAX_RECIPIENTS = 20;

export const command: Command = {
  name: 'explain',
  summary: 'say what a class, a reply code or an id means, or what holds for an address',
  help: `Usage: postern explain CLASS|CODE|ID|ADDRESS [--config FILE | --run-dir DIR]

CLASS  such as spam.gtube, or spam for all of spam.*: what the sender is told, when that happens, what to do
CODE   such as 550: every class that is answered with it
ID     as it stands in a reply of ours: what happened then, from the journal. The id of a session tells all of it. The
       reply may be pasted as it is, or what it has in brackets
ADDRESS  whom it belongs to, which mode, lock and quota hold for it now and why, with each step of an earned quota

${askHelp}

Exit status: 0 explained; 1 nothing is known about it.

Examples: postern explain upstream.lost
          postern explain 451
          postern explain 01HZX3V9Q00000A1
          postern explain 198.51.100.7
          postern explain '[spam.gtube id=01HZX3V9Q00000A1 https://mail.example.net/postern/spam.gtube]'
`,
  async run(args, io) {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: askOptions });
    const word = pastedId(positionals.join(' ')) ?? positionals[0];
    if (word === undefined || (positionals.length > 1 && word === positionals[0]))
      throw new UsageError('name one class, one reply code or one id');

    const known = classesOf(word);
    if (known.length > 0) {
      io.out(known.map(classText).join('\n'));
      return 0;
    }
    if (/^[1-5]\d\d$/.test(word)) {
      io.err(`no reply of ours has the code ${word}: it is the far side's own, passed on as it came`);
      return 1;
    }
    const host = canonical(word);
    if (host !== undefined) {
      const found = (await ask('explain', values, { of: 'whose', subject: host }, io)) as Whose | undefined;
      if (found === undefined) return 1;
      io.out(whoseText(host, found));
      return 0;
    }
    const id = idOf(word);
    if (id === undefined)
      throw new UsageError(
        `"${shown(word)}" is no class ("postern classes" lists them), no reply code, no address and no id of 16 characters`,
      );
    const answer = (await ask(
      'explain',
      values,
      { of: 'log', filter: { id, limit: MAX_STORIES }, who: whoAmI() },
      io,
    )) as LogAnswer | undefined;
    if (answer === undefined) return 1;
    if (answer.rows.length === 0) {
      io.err(`the journal has nothing of ${id}: it is older than journal.keep, or not of this gateway`);
      return 1;
    }
    const stories = [...answer.rows].reverse();
    io.out(stories.map(story).join('\n'));
    const [only] = stories;
    if (only && stories.length === 1) {
      // What is wrong with the configuration has been said.
      const silent = { ...io, err() {} };
      const about = await ask('explain', values, { of: 'complaints', limit: 100, id: only.id }, silent);
      for (const { at, type, via } of (about ?? []) as readonly Complaint[])
        io.out(`  Complaint of ${time(at)}: ${type}, by ${via}.`);
    }
    if (answer.more) io.err(`only the last ${MAX_STORIES} of this session; all: postern log --id ${id} --limit 10000`);
    return 0;
  },
};

/** The classes that a class, a main class or a code means. */
function classesOf(word: string): readonly Class[] {
  const names = Object.keys(classes) as Class[];
  if (isClass(word)) return [word];
  return names.filter((name) => name.startsWith(`${word}.`) || String(classes[name].code) === word);
}

const RETRY: Readonly<Record<number, string>> = {
  2: 'none needed',
  4: 'the sender tries again by itself',
  5: 'a retry cannot help',
};

export function classText(name: Class): string {
  const entry = entryOf(name);
  const lines = [
    name,
    `reply    ${entry.code} ${enhancedCode(entry.code, entry)} ${entry.text}`,
    `retry    ${RETRY[Math.floor(entry.code / 100)] ?? ''}`,
    ...(entry.quarantine ? ['keep     a copy, where quarantine is on'] : []),
    `meaning  ${entry.doc}`,
  ];
  return `${lines.join('\n  ')}\n`;
}

/** The id in a reply of ours, or in its bracket: `[spam.gtube id=… https://…]`, with quotes around it or without. */
function pastedId(text: string): string | undefined {
  return /(?:^|[\s[])id=(\w{16})(?!\w)/i.exec(text)?.[1];
}

/** Ids have no I, L, O and U, so that one that was read out or typed finds its way. */
export function idOf(word: string): string | undefined {
  const id = word.trim().toUpperCase().replace(/^ID=/, '').replaceAll('O', '0').replace(/[IL]/g, '1');
  return /^[0-9A-HJKMNP-TV-Z]{16}$/.test(id) ? id : undefined;
}

/** One attempt in words, with how long each step took. Everything that came from outside is made safe to show. */
export function story(attempt: Attempt): string {
  const lines: string[] = [];
  const say = (text: string): void => void lines.push(`  ${shown(text)}\n`);
  const { recipients, recipientsOmitted = 0 } = attempt;

  say(`${attempt.source} port ${attempt.sourcePort} called ${attempt.destination} port ${attempt.destinationPort};`);
  say(
    `worker ${attempt.worker} took it: network ${attempt.network},${attempt.subscriber === undefined ? '' : ` subscriber ${attempt.subscriber},`} mode ${attempt.mode}, session ${attempt.session}.`,
  );
  say(attempt.helo === undefined ? 'It said no HELO.' : `It said ${attempt.esmtp ? 'EHLO' : 'HELO'} ${attempt.helo}.`);
  if (attempt.identity !== undefined) say(`Its identity: ${address(attempt.identity)}.`);
  if (attempt.sender === undefined) say('It began no message.');
  else say(`MAIL from ${attempt.sender === '<>' ? 'the null sender' : address(attempt.sender)}.`);
  for (const { recipient, code, class: of } of recipients.slice(0, MAX_RECIPIENTS))
    say(`RCPT to ${address(recipient)}: ${recipientEnd(code, of)}.`);
  const unshown = recipients.length - Math.min(recipients.length, MAX_RECIPIENTS) + recipientsOmitted;
  if (unshown > 0) say(`… and ${unshown} recipients more.`);
  if (attempt.sizeBytes > 0) say(`The message had ${attempt.sizeBytes} octets.`);
  for (const { filter, name, score, evidence } of attempt.findings)
    say(`Filter ${filter} found ${name} (score ${score})${evidence === '' ? '' : `: ${evidence}`}.`);
  if (attempt.verdictMs !== undefined) say(`The filters took ${ms(attempt.verdictMs)}.`);
  if (attempt.wouldBe !== undefined) say(`Mode "enforce" would have refused it: ${attempt.wouldBe}.`);
  if (attempt.upstream !== undefined) {
    const took = attempt.relayMs === undefined ? '' : ` after ${ms(attempt.relayMs)}`;
    say(`${attempt.upstream} answered${took}: ${attempt.upstreamReply ?? 'nothing'}`);
  }
  if (isRefusedByUs(attempt))
    say(`The message was ${attempt.verdict === 'defer' ? 'put off' : 'refused'} by us: ${attempt.class}.`);
  say(`The host was told: ${attempt.reply === '' ? '(no reply recorded)' : attempt.reply}`);
  say(`End: ${attempt.verdict}, ${attempt.class}, ${ms(attempt.totalMs)} in all.`);
  // The journal can hold a class that this release no longer has.
  const of: string = attempt.class;
  if (isClass(of)) say(`${of}: ${classes[of].doc}`);
  return `${time(attempt.at)}  ${shown(attempt.id)}\n${lines.join('')}`;
}

/** A recipient's 250 is the smarthost's word on the recipient alone; the message may still have been refused. */
function recipientEnd(code: number, of: string): string {
  if (code === 0) return `no reply, ${of}`;
  return code < 300 ? `${code}, accepted by the smarthost` : `${code}, ${of}`;
}

/** Not by the far side, whose own reply is in the story, nor because the host ended it. */
function isRefusedByUs({ verdict, sender, class: of }: Attempt): boolean {
  return verdict !== 'accept' && sender !== undefined && of !== 'upstream.reply' && !of.startsWith('session.');
}

function ms(value: number): string {
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}
