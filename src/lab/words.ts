/**
 * The words of a line as a shell splits it: blanks part words, '…' is taken as it stands, in "…" a backslash escapes
 * " and \, elsewhere anything. Nothing is expanded. Throws when a quote is not closed.
 */
export function words(line: string): string[] {
  const found: string[] = [];
  // undefined between words: '' is a word of its own.
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < line.length; i++) {
    const c = line.charAt(i);
    const next = line.charAt(i + 1);
    if (quote !== '' && c === quote) quote = '';
    else if (c === '\\' && next !== '' && (quote === '' || (quote === '"' && /["\\]/.test(next)))) {
      word = (word ?? '') + next;
      i++;
    } else if (quote !== '') word = (word ?? '') + c;
    else if (c === "'" || c === '"') {
      quote = c;
      word ??= '';
    } else if (!/\s/.test(c)) word = (word ?? '') + c;
    else if (word !== undefined) {
      found.push(word);
      word = undefined;
    }
  }
  if (quote !== '') throw new Error(`There is no second ${quote} in: ${line.trim()}`);
  if (word !== undefined) found.push(word);
  return found;
}
