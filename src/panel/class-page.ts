/** What a class means, for whoever was refused: plain HTML without any script. */
import { type Class, classes, enhancedCode, entryOf, isClass } from '../policy/classes.ts';

export const escaped = (text: string): string => text.replace(/[&<>"']/g, (each) => `&#${each.charCodeAt(0)};`);

const RETRY: Readonly<Record<number, string>> = {
  2: 'Nothing is to be done.',
  4: 'The sending program tries again by itself.',
  5: 'Trying again does not help.',
};

/** Undefined when there is no such class. */
export function classPage(name: string, more = ''): string | undefined {
  if (!isClass(name)) return undefined;
  const { code, text, doc } = entryOf(name);
  return pageOf(
    name,
    `<p class="reply">${code} ${enhancedCode(code, entryOf(name))} ${escaped(text)}</p>
<p>${escaped(doc)}</p>
<p>${RETRY[Math.floor(code / 100)] ?? ''} Whoever runs the network finds all of it by the id in the reply.</p>
${more}
<p><a href="./">All classes</a></p>`,
  );
}

export function classesPage(): string {
  const rows = (Object.keys(classes) as Class[]).map(
    (name) =>
      `<tr><td><a href="${name}">${name}</a></td><td>${entryOf(name).code}</td><td>${escaped(entryOf(name).text)}</td></tr>`,
  );
  return pageOf('What the gateway answers', `<table><tbody>${rows.join('\n')}</tbody></table>`);
}

export function pageOf(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title><link rel="stylesheet" href="/assets/style.css"></head>
<body class="plain"><main><h1>${title}</h1>
${body}
</main></body></html>
`;
}
