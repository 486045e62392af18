/** Lines of CSV (RFC 4180) that are safe to open: each row one line, and no cell a formula. */

// C0, DEL, C1, and what turns or hides text or ends a line.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Without its end. */
export function csvLine(cells: readonly (string | number)[]): string {
  return cells.map((cell) => (typeof cell === 'number' ? String(cell) : csvCell(cell))).join(',');
}

/** A leading character that a spreadsheet would take for a formula is kept from it; what no line can have is told by its number. */
function csvCell(text: string): string {
  const clean = text.replace(
    UNSAFE,
    (each) => `<U+${(each.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}>`,
  );
  const safe = /^\s*[=+\-@]/.test(clean) ? `'${clean}` : clean;
  return /[",]/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** All of it, each line with its end. */
export function csvText(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  return [head, ...rows].map((row) => `${csvLine(row)}\r\n`).join('');
}
