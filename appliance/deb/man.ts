/** The manual pages: postern(1) from what each command says of itself, postern.toml(5) from the schema. */
import { commands } from '../../src/cli/commands.ts';
import { rules } from '../../src/config/check.ts';
import { outsideDocs } from '../../src/config/outside.ts';
import { schema } from '../../src/config/schema.ts';
import { subscriberDocs } from '../../src/config/subscriber-check.ts';
import { sections, tomlValue } from '../../src/config/toml.ts';

export type Edition = { readonly version: string /** 2026-11-25 */; readonly date: string };

export async function commandPage({ version, date }: Edition): Promise<string> {
  const parts = [
    `.TH POSTERN 1 ${date} "Postern ${version}" "Postern"`,
    '.SH NAME',
    'postern \\- the only gate through which mail leaves a network',
    '.SH SYNOPSIS',
    '.B postern\n.I command\n.RI [ options ]',
    '.SH DESCRIPTION',
    roff(
      'Postern takes the connections that hosts make to port 25 out of the stream of packets that this machine forwards, looks at the mail, and relays what is clean. This page has what each command says with --help.',
    ),
    '.SH COMMANDS',
  ];
  for (const [name, { load }] of Object.entries(commands)) {
    const { command } = await load();
    parts.push(`.SS "postern ${name}"`, '.nf', roff(command.help.trim()), '.fi');
  }
  parts.push(
    '.SH FILES',
    ...item('/etc/postern/postern.toml', 'the configuration'),
    ...item('/var/lib/postern', 'journal, counters, locks, the authority behind certificates'),
    ...item('/var/cache/postern', 'the last configuration that was right'),
    ...item('/usr/share/doc/postern', 'operate.md and the other pages'),
    '.SH SEE ALSO',
    '.BR postern.toml (5)',
  );
  return `${parts.join('\n')}\n`;
}

export function configPage({ version, date }: Edition): string {
  const parts = [
    `.TH POSTERN.TOML 5 ${date} "Postern ${version}" "Postern"`,
    '.SH NAME',
    'postern.toml \\- the configuration of Postern',
    '.SH DESCRIPTION',
    roff(
      'One TOML file. A duration is a number with ms, s, m, h or d; a size one with B, KiB, MiB or GiB; both in quotes. "postern config --example" prints a commented file to begin with, "postern check" says everything that is wrong with one.',
    ),
    ...sections(schema.fields).flatMap(({ header, doc, fields }) => [
      `.SH "${roff(header)}"`,
      roff(doc),
      ...fields.flatMap(([key, { type, doc: meaning, required, fallback }]) => {
        const unsaid = required
          ? 'Required.'
          : fallback === undefined
            ? 'Not set.'
            : `Default: ${tomlValue(fallback)}.`;
        return ['.TP', `.B ${roff(key)}`, roff(`${meaning} Value: ${type}. ${unsaid}`)];
      }),
    ]),
    '.SH "WHAT MUST FIT TOGETHER"',
    ...[...rules.map(({ doc }) => doc), ...subscriberDocs, ...outsideDocs].flatMap((doc) => ['.PP', roff(doc)]),
    '.SH FILES',
    '.I /etc/postern/postern.toml',
    '.SH SEE ALSO',
    '.BR postern (1)',
  ];
  return `${parts.join('\n')}\n`;
}

function item(name: string, meaning: string): string[] {
  return ['.TP', `.I ${roff(name)}`, roff(meaning)];
}

/** Text that roff prints as it is: no escape, no request at the beginning of a line, a minus that can be copied. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^([.'])/gm, '\\&$1');
}
