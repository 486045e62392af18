/** The thread that answers questions to the journal, so that a long search never holds up a write. */
import { parentPort, workerData } from 'node:worker_threads';
import type { FromReader, ReaderData, ToReader } from './reader.ts';
import { explain, faultOf } from './journalfile.ts';
import { history } from './history.ts';
import { receivers } from './receivers.ts';
import { damageOf, search } from './search.ts';
import { sums } from './sums.ts';
import { sources, top } from './top.ts';

const port = parentPort as NonNullable<typeof parentPort>;
const { path } = workerData as ReaderData;
const say = (message: FromReader): void => port.postMessage(message);

port.on('message', (message: ToReader) => {
  if (message.kind === 'check') return check();
  try {
    say({ kind: 'found', number: message.number, answer: answerTo(message) });
  } catch (error) {
    say({ kind: 'not-found', number: message.number, problem: explain(error) });
    if (faultOf(error) === 'damaged') check();
  }
});

function answerTo(message: Exclude<ToReader, { kind: 'check' }>): unknown {
  if (message.kind === 'search') return search(path, message.search);
  if (message.kind === 'receivers') return receivers(path, message.question);
  if (message.kind === 'sums') return sums(path, message.question);
  if (message.kind === 'sources') return sources(path, message.question);
  return message.kind === 'top' ? top(path, message.question) : history(path, message.question);
}

function check(): void {
  try {
    const damage = damageOf(path);
    if (damage !== undefined) say({ kind: 'damaged', reason: damage });
  } catch (error) {
    if (faultOf(error) === 'damaged') say({ kind: 'damaged', reason: explain(error) });
  }
}
