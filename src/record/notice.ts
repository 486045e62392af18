/** A lock, told by mail in the operator's words. */
import { compose, type OwnMail, type Writer } from './own-mail.ts';

/** What may be filled in, by its name in the template. */
export type Places = Readonly<Record<string, string>>;

/** The first line of the template is the subject. What is filled in came from outside: it stays on its line. */
export function composeNotice(
  writer: Writer,
  { to, template, places, nowMs }: { to: string; template: string; places: Places; nowMs: number },
): Promise<OwnMail> {
  const [subject = '', ...body] = filledIn(template, places).split(/\r?\n/);
  return compose(writer, {
    ...{ to, subject, nowMs },
    type: 'multipart/mixed',
    parts: [{ kind: 'text', text: `${body.join('\n').trim()}\n` }],
  });
}

export function filledIn(template: string, places: Places): string {
  return template.replace(/\{([^{}\s]*)\}/g, (whole, name: string) =>
    Object.hasOwn(places, name) ? plain(places[name] ?? '') : whole,
  );
}

function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, ' ').slice(0, 500);
}
