/**
 * SMTP AUTH towards a server (RFC 4954): PLAIN, else LOGIN. The caller has made sure of verified TLS.
 *
 * What the server says to a refused password is not passed on: it could hold the password, and the text would be logged.
 */
import type { Class } from '../policy/classes.ts';
import type { Answer } from './upstream.ts';

export type Credentials = { readonly username: string; readonly password: string };

const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64');

/** The lines to send, one after the other, each but the last answered by 334. */
const MECHANISMS: Readonly<Record<string, (c: Credentials) => readonly string[]>> = {
  PLAIN: (c) => [`AUTH PLAIN ${base64(`\0${c.username}\0${c.password}`)}`],
  LOGIN: (c) => ['AUTH LOGIN', base64(c.username), base64(c.password)],
};

/** Undefined when the server takes the credentials, else why not. `say` sends one line and waits for its reply. */
export async function authenticate(
  credentials: Credentials,
  keywords: readonly string[],
  say: (line: string) => Promise<Answer>,
): Promise<undefined | { readonly class: Class; readonly detail: string }> {
  const offered = new Set(
    keywords.flatMap((line) => {
      const [keyword, ...mechanisms] = line.toUpperCase().split(/[ =]+/);
      return keyword === 'AUTH' ? mechanisms : [];
    }),
  );
  const mechanism = Object.keys(MECHANISMS).find((name) => offered.has(name));
  if (!mechanism) return { class: 'upstream.auth', detail: 'offers neither AUTH PLAIN nor LOGIN' };
  const lines = (MECHANISMS[mechanism] as (c: Credentials) => readonly string[])(credentials);
  for (const [i, line] of lines.entries()) {
    const answer = await say(line);
    if (answer.kind === 'fault')
      return { class: answer.class, detail: `the connection failed during AUTH ${mechanism}` };
    const wanted = i === lines.length - 1 ? 235 : 334;
    if (answer.code !== wanted)
      return { class: 'upstream.auth', detail: `AUTH ${mechanism} was answered with ${answer.code}` };
  }
  return undefined;
}
