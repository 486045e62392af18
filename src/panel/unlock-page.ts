/** The page for whoever is locked, where the URL in the refusal leads: plain HTML without any script. */
import { entryOf } from '../policy/classes.ts';
import { escaped } from './class-page.ts';
import type { LineLock } from './line-room.ts';

const CHECKS = [
  'Every computer, server and device behind this line has been looked at with an up-to-date virus scanner.',
  'Passwords of mailboxes that sent this mail have been changed.',
  'Web sites and their plug-ins are up to date, and forms that send mail cannot be used by strangers.',
  'Mail that waits in a queue and is not wanted has been deleted.',
] as const;

/** Beneath what the class means. `path` is where it is sent to. */
export function lockedLine(address: string, locks: readonly LineLock[], path: string): string {
  return `<h2>The line ${escaped(address)}</h2>${locks.map((lock) => one(lock, path)).join('')}`;
}

export function unlockedPage(address: string): string {
  return `<p class="reply">The line ${escaped(address)} may send again. Programs that had been refused with 450 try again by themselves.</p>
<p>If it goes on as before, it is locked again.</p>`;
}

function one({ word, identity, since, until, counted, evidence, unlocksLeft }: LineLock, path: string): string {
  const who = identity === undefined ? 'Mail from here' : `Mail of ${escaped(identity)} from here`;
  const end = until === undefined ? 'until whoever runs the network ends it' : `until ${time(until)}`;
  const rows = evidence.map(
    (each) =>
      `<tr><td>${time(each.at)}</td><td>${escaped(entryOf(each.class).text)}</td><td class="text">${escaped(shown(each.from))}</td><td class="text">${escaped(shown(each.to))}</td></tr>`,
  );
  return `<section>
<p>${who} is refused since ${time(since)}, ${end}${counted === undefined ? '' : `, after ${escaped(shown(counted))}`}.</p>
${rows.length === 0 ? '' : `<div class="wide"><table><thead><tr><th>Time</th><th>What was refused</th><th>From</th><th>To</th></tr></thead><tbody>${rows.join('')}</tbody></table></div>`}
${
  unlocksLeft === 0
    ? '<p>It is ended by whoever runs the network. Tell him the id in the reply, and what you have done:</p>' +
      `<ul>${CHECKS.map((check) => `<li>${check}</li>`).join('')}</ul>`
    : `<form class="unlock" method="post" action="${escaped(path)}">
<input type="hidden" name="word" value="${word}">
${CHECKS.map((check, i) => `<label><input type="checkbox" name="check${i}" value="done" required> ${check}</label>`).join('\n')}
<button>Unlock this line</button>
<p class="dim">${unlocksLeft === 1 ? 'Once more' : `${unlocksLeft} times more`} it can be ended here.</p>
</form>`
}
</section>`;
}

/** `2026-11-23 14:05:09 UTC` */
function time(at: number): string {
  return new Date(at).toISOString().replace('T', ' ').slice(0, 19).concat(' UTC');
}

/** Characters that hide or turn around what stands beside them are left out. */
function shown(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what it is for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, '');
}

/** All of the list is asked for. */
export function isComplete(form: Readonly<Record<string, unknown>>): boolean {
  return CHECKS.every((_, i) => form[`check${i}`] === 'done');
}
