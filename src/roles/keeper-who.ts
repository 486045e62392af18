/** Whom an address belonged to at a time: prefixes change hands, and a complaint comes days later. */
import type { Sender } from '../identity/senders.ts';
import type { Who } from '../ledger/language.ts';
import type { LogAnswer, LogFilter } from '../record/query.ts';

export type WhoDeps = {
  readonly search: (filter: LogFilter) => Promise<LogAnswer>;
  /** as the configuration has it now */
  readonly whoIs: (address: string) => Sender | undefined;
};

/** By the last attempt up to then, which was written with whom it belonged to; where there is none, by the configuration. */
export async function whoWas(address: string, at: number, { search, whoIs }: WhoDeps): Promise<Who> {
  const { rows } = await search({ source: address, until: at + 1, limit: 1 });
  const [last] = rows;
  if (last) {
    const { id, network, subscriber, tenant } = last;
    return { address, at, network, subscriber, tenant, attempt: { id, at: last.at } };
  }
  const now = whoIs(address);
  return {
    ...{ address, at, attempt: undefined },
    network: now?.network.name,
    subscriber: now?.subscriber?.name,
    tenant: now?.network.tenant,
  };
}
