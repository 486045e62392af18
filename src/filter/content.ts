/**
 * What is in a message, for the filters that ask: small messages are taken apart on the loop, others in a thread, and each
 * of them once, whoever asks. The filter of the same name reports what went past a limit.
 */
import type { Config } from '../config/schema.ts';
import type { Class } from '../policy/classes.ts';
import type { Filter, FilterDeps, Mail, MakeFilter, Seen } from './filter.ts';
import { type Content, inspect, TOO_MUCH } from './inspect.ts';
import type { Message } from './message.ts';
import type { Fault, Limits } from './mime.ts';
import { copyOf, unstuffed } from './octets.ts';

/** What the loop can spare: a message of this size costs it a millisecond or two, whatever is in it. */
const QUICK_BYTES = 64 * 1024;

export type ReadContent = (mail: Mail) => Content | Promise<Content>;

export function contentReader({ filters: { content: config } }: Config, { threads }: FilterDeps): ReadContent {
  const limits: Limits = {
    parts: config.maxParts,
    depth: config.maxDepth,
    fields: config.maxFields,
    headerBytes: config.maxHeader,
  };
  const inThread = async (message: Message, over: AbortSignal): Promise<Content> => {
    const signal = AbortSignal.any([over, AbortSignal.timeout(config.deadline)]);
    const prepare = async () => {
      const bytes = await copyOf(message, message.sizeBytes, signal);
      return { value: { bytes, limits }, transfer: [bytes.buffer] };
    };
    return (await threads.run('inspect', prepare, signal)) as Content;
  };
  const read = (message: Message, over: () => AbortSignal): Content | Promise<Content> => {
    if (message.sizeBytes > config.maxSize) return TOO_LARGE;
    if (message.sizeBytes > QUICK_BYTES) return inThread(message, over());
    const content = inspect(whole(message), limits, true);
    return content === TOO_MUCH ? inThread(message, over()) : content;
  };
  return ({ message }) => message.content((over) => read(message, over));
}

/** What `look` makes of a mail's content, at once where that is there at once. */
export function withContent(
  read: ReadContent,
  mail: Mail,
  look: (content: Content) => readonly Seen[],
): readonly Seen[] | Promise<readonly Seen[]> {
  const content = read(mail);
  return content instanceof Promise ? content.then(look) : look(content);
}

const TOO_LARGE: Content = { attachments: [], text: '', urls: [], faults: ['size'], types: [] };

/** A small message in one piece; where it lies, if nothing has to be done. */
function whole(message: Message): Buffer {
  const pieces = [...unstuffed(message.raw())];
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
}

const CLASSES: Readonly<Record<Fault, Class>> = {
  size: 'content.size',
  parts: 'content.parts',
  depth: 'content.depth',
  fields: 'content.header',
  'header-size': 'content.header',
  ambiguous: 'content.ambiguous',
};

export const content = ((config, deps): Filter<'body'> => {
  const actions = config.filters.content;
  const read = contentReader(config, deps);
  return {
    name: 'content',
    stage: 'body',
    speaksOf: 'content',
    look: (mail) =>
      withContent(read, mail, ({ faults, types }) => {
        if (faults.length === 0 && !types.includes('message/partial')) return NOTHING;
        const seen = faults.map((fault) => finding(fault, CLASSES[fault], 'see filters.content'));
        if (types.includes('message/partial')) seen.push(finding('partial', 'content.partial', 'message/partial'));
        return seen;
      }),
    actionOf: (class_) => actions[class_.slice('content.'.length) as 'parts'],
    failure: actions.failure,
  };
}) satisfies MakeFilter;

const NOTHING: readonly Seen[] = [];

function finding(name: string, class_: Class, evidence: string): Seen {
  return { filter: 'content', name, score: 0.3, evidence, class: class_ };
}
