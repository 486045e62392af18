/** The thread that writes the journal: one message in, one answer out; between them it keeps age and size. */
import { parentPort, workerData } from 'node:worker_threads';
import type { FromWriter, ToWriter, WriterData } from './journal.ts';
import { explain, faultOf, JournalFile, type Retention } from './journalfile.ts';
import { type Batch, batchFrom, idOf, pick } from './rows.ts';

const port = parentPort as NonNullable<typeof parentPort>;
const TIDY_MS = 1_000;

const { path, retention: first } = workerData as WriterData;
let retention: Retention = first;
const say = (message: FromWriter): void => port.postMessage(message);
const file = new JournalFile(path, (level, event, fields) => say({ kind: 'log', level, event, fields }));

/** The state is said each second, so that a trouble shows, and its end, without any mail. */
function tidy(): void {
  try {
    const more = file.prune(retention, Date.now());
    say({ kind: 'state', problem: undefined, ...file.measure() });
    if (more) setImmediate(tidy);
  } catch (error) {
    recover(error);
    say({ kind: 'state', problem: explain(error), sizeBytes: 0, oldest: undefined });
  }
}

/** What may pass by itself is tried again on the next call, with the file opened anew. */
function recover(error: unknown): void {
  try {
    if (faultOf(error) === 'damaged') file.replace(explain(error));
    else file.close();
  } catch {
    file.close();
  }
}

port.on('message', (message: ToWriter) => {
  switch (message.kind) {
    case 'write':
      write(batchFrom(message.batches));
      break;
    case 'retention':
      retention = message.retention;
      break;
    case 'replace':
      try {
        file.replace(message.reason);
      } catch (error) {
        recover(error);
      }
      break;
    case 'close':
      clearInterval(timer);
      file.close();
      say({ kind: 'closed' });
      port.close();
      break;
  }
});

function write(batch: Batch): void {
  try {
    file.write(batch);
    say({ kind: 'written', lost: 0 });
  } catch (error) {
    if (faultOf(error) !== 'other') {
      recover(error);
      say({ kind: 'failed', problem: explain(error) });
    } else {
      say({ kind: 'written', lost: oneByOne(batch) });
    }
  }
}

/** A batch that no file would take has a row in it that is to blame: the others are written. */
function oneByOne(batch: Batch): number {
  let lost = 0;
  for (let position = 0; position < batch.count; position++) {
    try {
      file.write(pick(batch, (one) => one === position));
    } catch (error) {
      lost++;
      say({
        kind: 'log',
        level: 'error',
        event: 'journal.row-refused',
        fields: { id: idOf(batch, position), error: explain(error) },
      });
    }
  }
  return lost;
}

const timer = setInterval(tidy, TIDY_MS);
tidy();
