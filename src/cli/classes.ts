/** The table of classes for people: as a list, and as docs/classes.md. */
import { parseArgs } from 'node:util';
import { type Class, type ClassEntry, classes, enhancedCode, retryHelps } from '../policy/classes.ts';
import type { Command } from './command.ts';

const GROUPS: Readonly<Record<string, string>> = {
  accepted: 'The far side has the message.',
  protocol: 'The host speaks SMTP in a way that cannot be carried on.',
  tls: 'STARTTLS with a host did not come about, or may not be done without.',
  body: 'The message cannot be carried as it is; it is never repaired.',
  header: 'Fields that RFC 5322 wants exactly once.',
  spam: 'A filter found it.',
  auth: 'What SPF, DKIM, DMARC and ARC say.',
  content: 'The message cannot be taken apart to be looked at.',
  attachment: 'A file in the message.',
  behaviour: 'What the subscriber did before, and not this message alone.',
  virus: 'ClamAV found it, or could not look.',
  limit: 'A bound is reached. It frees itself.',
  locked: 'Somebody has stopped this source.',
  sender: 'The sender address is not for this source, or not for so many recipients.',
  network: 'The mode of the network says no.',
  upstream: 'The server on the far side, or the way to it.',
  session: 'The connection ended.',
  error: 'Something of ours failed.',
};

function entries(): [Class, ClassEntry][] {
  return Object.entries(classes) as [Class, ClassEntry][];
}

function replyOf(entry: ClassEntry): string {
  return `${entry.code} ${enhancedCode(entry.code, entry)}`;
}

const yes = (is: boolean | undefined): string => (is ? 'yes' : '');

/** The whole of docs/classes.md. */
export function classesPage(): string {
  const groups = Map.groupBy(entries(), ([name]) => name.split('.', 1)[0] as string);
  const sections = [...groups].map(([group, members]) => {
    const rows = members.map(
      ([name, entry]) =>
        `| <a id="${name}"></a>\`${name}\` | ${replyOf(entry)} | ${yes(retryHelps(entry))} | ${yes(entry.quarantine)} | ${entry.text} | ${entry.doc} |`,
    );
    return `## ${group}\n\n${GROUPS[group] ?? ''}\n\n| class | reply | retry | keep | the sender is told | what it means |\n|---|---|---|---|---|---|\n${rows.join('\n')}\n`;
  });
  return `# Classes

Written by \`postern classes --docs\` from \`src/policy/classes.ts\`; a test compares the two.

Every refusal of ours names its class, an id and a URL: \`550 5.7.1 Text [spam.gtube id=0ABC… https://…/spam.gtube]\`. \`postern explain\` knows
class, code and id. The class is also the label in the metrics and the column in the journal. 4xx: the sender tries again by itself. 5xx: a
retry cannot help. Configuration can turn a filter's refusal from one into the other (\`finding\`, \`failure\`): then the code is 451 or 554. In place of a banner a 4xx is 421.

"retry": the sender tries again by itself and may get through. "keep": a copy may be kept where quarantine is on, for a person to look at and to let
go. What other filters refuse mail for, and which class that is here: [reasons](reasons.md).

${sections.join('\n')}`;
}

export const command: Command = {
  name: 'classes',
  summary: 'list every class of reply',
  help: `Usage: postern classes [--docs]

Lists every class that a reply, a log line or a metric can name, with its code and what the sender is told.
Nothing else can occur. "postern explain CLASS" says more about one.

  --docs    the page docs/classes.md

Example: postern classes | grep '^upstream'
`,
  async run(args, io) {
    const { values } = parseArgs({ args: [...args], options: { docs: { type: 'boolean', default: false } } });
    if (values.docs) {
      io.out(classesPage());
      return 0;
    }
    const width = Math.max(...Object.keys(classes).map((name) => name.length));
    for (const [name, entry] of entries()) io.out(`${name.padEnd(width)}  ${replyOf(entry)}  ${entry.text}`);
    return 0;
  },
};
