/**
 * Many subscribers that send what looks alike: asked of the keeper, which sees all workers' messages as sketches and never
 * as text.
 */
import { createHash } from 'node:crypto';
import { MAX_KEYS } from '../ledger/inquiry.ts';
import { contentReader } from './content.ts';
import type { Filter, Mail, MakeFilter, Seen } from './filter.ts';
import type { Content } from './inspect.ts';
import { hostsIn, phonesIn, sketchOf, walletsIn } from './sketch.ts';

export const campaign = ((config, deps): Filter<'body'> | undefined => {
  const { campaign: own } = config.filters;
  if (!own.enabled) return undefined;
  const read = contentReader(config, deps);
  const judge = async (mail: Mail, content: Content): Promise<readonly Seen[]> => {
    const { text, urls } = content;
    const wallets = walletsIn(text);
    const sketch = sketchOf(text, [...hostsIn(urls).slice(0, MAX_KEYS), ...phonesIn(text)]);
    if (sketch.length === 0 && wallets.length === 0) return [];
    const copy = copyOf(mail, text);
    const { subscriber, sender } = mail;
    const answer = await deps.inquire({
      of: 'campaign',
      subscriber,
      identity: sender.slice(0, 600),
      sketch,
      keys: wallets,
      ...(copy !== undefined && { copy }),
    });
    if (answer.of !== 'campaign' || answer.subscribers < own.subscribers) return [];
    const { subscribers, identities, messages } = answer;
    const evidence = `${messages} alike, from ${subscribers} subscribers and ${identities} senders`;
    return [{ filter: 'campaign', name: 'alike', score: 0.7, evidence, class: 'spam.campaign' }];
  };
  return {
    name: 'campaign',
    stage: 'body',
    needs: 'content',
    look(mail) {
      const content = read(mail);
      return content instanceof Promise ? content.then((one) => judge(mail, one)) : judge(mail, content);
    },
    actionOf: () => own.finding,
    failure: own.failure,
  };
}) satisfies MakeFilter;

/**
 * The same message sent on by many, as lists and forwarding addresses do: it has come from somewhere else, and Message-ID
 * and text are those of the others. Who varies the text, as a campaign does, is none of them.
 */
function copyOf({ message }: Mail, text: string): string | undefined {
  let id = '';
  let hasCome = false;
  for (const { name, value } of message.fields()) {
    if (name === 'message-id') id = value;
    else if (name === 'received' || name === 'list-id') hasCome = true;
  }
  if (!hasCome || id === '') return undefined;
  return createHash('sha256').update(id).update('\0').update(text).digest('base64url').slice(0, 22);
}
