/** Contacts at providers of free mailboxes: a report quotes spam, and their filters take it for such. No mistake, but worth a warning. */
import type { LoadResult } from './load.ts';

const PROVIDERS =
  /^(?:gmail|googlemail|outlook|hotmail|live|msn|yahoo|ymail|aol|gmx|web|t-online|freenet|icloud|me|mail|inbox|yandex|ya|rambler|proton|protonmail|qq|163|126|orange|laposte|libero|seznam|wp|o2|interia)\.(?:[a-z]{2,3}|co\.[a-z]{2}|com\.[a-z]{2})$/;

/** One line for each, as `postern check` says it. */
export function freemailContacts({ config, origins }: Extract<LoadResult, { ok: true }>, file: string): string[] {
  const line = (key: string): string => `${file}:${origins.get(key)?.line ?? 0}`;
  const contacts = [
    { contact: config.reports.contact, key: 'reports.contact', place: line('reports.contact') },
    ...config.network.map(({ contact }, i) => ({ contact, key: 'contact', place: line(`network[${i}].contact`) })),
    ...config.tenant.map(({ contact }, i) => ({ contact, key: 'contact', place: line(`tenant[${i}].contact`) })),
    ...config.subscriber.map(({ contact, place }) => ({
      contact,
      key: 'contact',
      place: `${place.file}:${place.keyLine?.('contact') ?? place.line}`,
    })),
  ];
  return contacts.flatMap(({ contact, key, place }) =>
    contact !== undefined && PROVIDERS.test(contact.slice(contact.lastIndexOf('@') + 1).toLowerCase())
      ? [
          `${place}: warning: ${key}: "${contact}" is at a provider of free mailboxes, whose filter takes a report for the spam that it quotes; use a mailbox that is not filtered`,
        ]
      : [],
  );
}
