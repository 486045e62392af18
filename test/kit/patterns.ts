/** The regular expressions that stand in source files, and texts that are made to take them long. */
import type { Random } from './random.ts';

export type Found = { readonly pattern: RegExp; readonly line: number };

/** Behind these a slash begins an expression, behind all else it divides. */
const BEFORE = /(?:[(,=:[!&|?{};+>]|\b(?:return|of|in|case|typeof))\s*$|^\s*$/;

export function patternsIn(source: string): Found[] {
  const text = source.replace(/^#!.*/, '');
  const found: Found[] = [];
  /** for each template that is open: how many braces are open in it */
  const templates: number[] = [];
  let code = '';
  const skip = (at: number, end: string): number => {
    let next = at;
    while (next < text.length && !text.startsWith(end, next)) next += text[next] === '\\' ? 2 : 1;
    return next + end.length;
  };
  const template = (at: number): number => {
    for (let next = at; next < text.length; next++) {
      if (text[next] === '\\') next++;
      else if (text[next] === '`') return next + 1;
      else if (text.startsWith('${', next)) {
        templates.push(0);
        code = '(';
        return next + 2;
      }
    }
    return text.length;
  };
  for (let at = 0; at < text.length; ) {
    const char = text[at] as string;
    const braces = templates.length - 1;
    if (text.startsWith('//', at)) at = text.indexOf('\n', at);
    else if (text.startsWith('/*', at)) at = skip(at + 2, '*/');
    else if (char === "'" || char === '"') {
      at = skip(at + 1, char);
      code = 'x';
    } else if (char === '`') {
      code = 'x';
      at = template(at + 1);
    } else if (char === '}' && templates[braces] === 0) {
      templates.pop();
      code = 'x';
      at = template(at + 1);
    } else if (char === '/' && BEFORE.test(code)) {
      const end = endOf(text, at + 1);
      const [flags = ''] = /^[a-z]*/.exec(text.slice(end + 1)) ?? [];
      const line = text.slice(0, at).split('\n').length;
      found.push({ pattern: new RegExp(text.slice(at + 1, end), flags), line });
      at = end + 1 + flags.length;
      code = 'x';
    } else {
      if (braces >= 0 && char === '{') templates[braces] = (templates[braces] as number) + 1;
      if (braces >= 0 && char === '}') templates[braces] = (templates[braces] as number) - 1;
      code = (code + char).slice(-20);
      at++;
    }
  }
  return found;
}

/** A slash in a class ends nothing. */
function endOf(text: string, from: number): number {
  let isInClass = false;
  for (let at = from; at < text.length; at++) {
    const char = text[at];
    if (char === '\\') at++;
    else if (char === '[') isInClass = true;
    else if (char === ']') isInClass = false;
    else if (char === '/' && !isInClass) return at;
  }
  throw new Error(`an expression without end: ${text.slice(from, from + 50)}`);
}

/**
 * Texts of what the pattern has itself, repeated, and something behind that keeps it from matching: each character alone,
 * and some words of two and three.
 */
export function hostileTo(pattern: RegExp, length: number, words: number, random: Random): string[] {
  const own = pattern.source.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const chars = [...new Set(`${own.replace(/\\[trnsdwb]/g, ' ')} \ta0\n\r=`)];
  const pumps = [...chars];
  for (let i = 0; i < words; i++)
    pumps.push(Array.from({ length: 2 + random.below(2) }, () => random.pick(chars)).join(''));
  return pumps.flatMap((pump) => {
    const body = pump.repeat(Math.ceil(length / pump.length));
    return [`${body}\u0001`, `${random.pick(chars)}${random.pick(chars)}${body}\u0001x`];
  });
}
