/** Addresses that a message points to, against lists in files. */
import { contentReader } from './content.ts';
import type { Filter, MakeFilter, Seen } from './filter.ts';
import type { Content } from './inspect.ts';
import { placesOf, UrlList } from './url-list.ts';

export const urls = ((config, deps): Filter<'body'> | undefined => {
  const { urls: own } = config.filters;
  if (own.files.length === 0) return undefined;
  const lists = own.files.map((file) => new UrlList(file));
  let isReady = false;
  const ready = Promise.all(lists.map((list) => list.ready)).then(() => (isReady = true));
  ready.catch(() => {});
  const read = contentReader(config, deps);

  const judge = (content: Content): readonly Seen[] => {
    for (const url of content.urls)
      for (const { host, path } of placesOf(url))
        for (const list of lists) {
          const line = list.match(host, path);
          if (line !== undefined) return [finding(line, list.file)];
        }
    return [];
  };
  return {
    name: 'urls',
    stage: 'body',
    needs: 'content',
    look(mail) {
      const content = read(mail);
      if (isReady && !(content instanceof Promise)) return judge(content);
      return Promise.all([content, ready]).then(([one]) => judge(one));
    },
    actionOf: () => own.listed,
    failure: own.failure,
  };
}) satisfies MakeFilter;

function finding(line: string, file: string): Seen {
  return {
    filter: 'urls',
    name: 'listed',
    score: 0.8,
    evidence: `${line} in ${file}`.slice(0, 300),
    class: 'spam.url',
  };
}
