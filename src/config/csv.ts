/** Rows of a CSV file (RFC 4180) with the line each begins on. Either line end is taken, and a byte order mark. */
export type CsvRow = { readonly line: number; readonly cells: readonly string[] };

/** Rows one after the other; empty lines are left out. Throws CsvError at a quote that is not closed or stands wrong. */
export function* csvRows(text: string): Generator<CsvRow> {
  let at = text.startsWith('\ufeff') ? 1 : 0;
  let line = 1;
  while (at < text.length) {
    const lineEnd = endOf(text, at);
    const whole = text.slice(at, lineEnd);
    // Nearly all rows: no quotes in them.
    if (!whole.includes('"')) {
      at = lineEnd + 1;
      const plain = whole.endsWith('\r') ? whole.slice(0, -1) : whole;
      if (plain !== '') yield { line, cells: plain.split(',') };
      line++;
      continue;
    }
    const row = quotedRow(text, at, line);
    yield { line, cells: row.cells };
    at = row.end;
    line = row.nextLine;
  }
}

export class CsvError extends Error {
  override readonly name = 'CsvError';
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

function endOf(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}

function quotedRow(text: string, from: number, first: number): { cells: string[]; end: number; nextLine: number } {
  const cells: string[] = [];
  let line = first;
  let at = from;
  for (;;) {
    let cell: string;
    if (text[at] === '"') {
      const { content, end } = quotedCell(text, at, line);
      line += content.split('\n').length - 1;
      cell = content;
      at = end;
      if (at < text.length && !/[,\r\n]/.test(text[at] as string))
        throw new CsvError(line, 'a comma or the end of the line behind a closing quote');
    } else {
      const end = text.slice(at).search(/[,\r\n]/);
      cell = end < 0 ? text.slice(at) : text.slice(at, at + end);
      if (cell.includes('"')) throw new CsvError(line, 'quotes around a whole value, a quote in it written twice');
      at += cell.length;
    }
    cells.push(cell);
    if (text[at] === ',') {
      at++;
      continue;
    }
    const end = endOf(text, at);
    return { cells, end: end + 1, nextLine: line + 1 };
  }
}

function quotedCell(text: string, from: number, line: number): { content: string; end: number } {
  for (let at = from + 1; ; at += 2) {
    at = text.indexOf('"', at);
    if (at < 0) throw new CsvError(line, 'a closing quote');
    if (text[at + 1] !== '"') return { content: text.slice(from + 1, at).replaceAll('""', '"'), end: at + 1 };
  }
}
