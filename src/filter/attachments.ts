/** Files in a message: what they are called, what they really are, what is in archives (archive/list.ts). */
import type { Class } from '../policy/classes.ts';
import { contentReader, withContent } from './content.ts';
import type { Filter, MakeFilter, Seen } from './filter.ts';
import type { Attachment } from './inspect.ts';
import { isNested } from './archive/list.ts';
import { extensionOf } from './kind.ts';

type Sub = 'executable' | 'disguised' | 'macro' | 'encrypted' | 'limits' | 'unread';
const SCORES: Readonly<Record<Sub, number>> = {
  executable: 0.8,
  disguised: 1,
  macro: 0.3,
  encrypted: 0.3,
  limits: 0.5,
  unread: 0.1,
};
const ARCHIVE_FAULTS = { bomb: 'limits', deep: 'limits', unread: 'unread', encrypted: 'encrypted' } as const;
const MAX_EVIDENCE = 200;

export const attachments = ((config, deps): Filter<'body'> | undefined => {
  const { attachments: own } = config.filters;
  if (!own.enabled) return undefined;
  const extensions = new Set(own.extensions.map((one) => one.toLowerCase().replace(/^\./, '')));
  const read = contentReader(config, deps);
  return {
    name: 'attachments',
    stage: 'body',
    needs: 'content',
    look: (mail) =>
      withContent(read, mail, (content) => (content.attachments.length === 0 ? NOTHING : all(content.attachments))),
    actionOf: (class_) => own[class_.slice('attachment.'.length) as Sub],
    failure: own.failure,
  };

  function all(files: readonly Attachment[]): readonly Seen[] {
    // One finding of each sort is enough to decide on; the first names the file.
    const seen = new Map<Sub, Seen>();
    const see = (sub: Sub, evidence: string): void => {
      if (!seen.has(sub)) seen.set(sub, finding(sub, evidence));
    };
    for (const file of files) {
      const name = file.names[0] ?? `(${file.type})`;
      const runs = file.names.find((one) => extensions.has(extensionOf(one)));
      if (file.isDisguised) see('disguised', `${name}: ${file.kind}`);
      if (runs !== undefined) see('executable', runs);
      else if (file.kind === 'executable' || file.kind === 'shortcut') see('executable', `${name}: ${file.kind}`);
      // Called an archive, and none that is known.
      if (file.kind === 'unknown' && file.names.some(isNested)) see('unread', name);
      if (file.hasMacros) see('macro', name);
      for (const fault of file.archive?.faults ?? []) see(ARCHIVE_FAULTS[fault], `${name}: ${fault}`);
      for (const entry of file.archive?.entries ?? []) {
        const isProgram = entry.kind === 'executable' || entry.kind === 'shortcut';
        if (!isProgram && !extensions.has(extensionOf(entry.name))) continue;
        see('executable', `${entry.name} in ${name}, level ${entry.level}`);
        break;
      }
    }
    return [...seen.values()];
  }
}) satisfies MakeFilter;

const NOTHING: readonly Seen[] = [];

function finding(sub: Sub, evidence: string): Seen {
  const class_: Class = `attachment.${sub}`;
  return {
    filter: 'attachments',
    name: sub,
    score: SCORES[sub],
    evidence: evidence.slice(0, MAX_EVIDENCE),
    class: class_,
  };
}
