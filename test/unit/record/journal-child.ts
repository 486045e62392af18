/** A journal in a process of its own, to be killed or starved: writes without end, says what has been written. */
import { openJournal } from '../../../src/record/journal.ts';
import { attempt } from '../ledger/sample.ts';

const [path = '', prefix = '', pauseMs = '0'] = process.argv.slice(2);
const journal = openJournal(path, { keepMs: 1e15, maxSizeBytes: 2 ** 30 }, { write() {} });
// A limit on file size is to be an error like any other.
process.on('SIGXFSZ', () => {});

let n = 0;
let said = '';
setInterval(() => {
  const { ok, written, dropped, waiting, problem } = journal.state();
  if (waiting < 2000) {
    const batch = Array.from({ length: pauseMs === '0' ? 100 : 1 }, () => attempt({ id: `${prefix}-${n}`, at: n++ }));
    journal.append(batch);
  }
  const line = JSON.stringify({ ok, written, dropped, problem });
  if (line !== said) process.stdout.write(`${line}\n`);
  said = line;
}, Number(pauseMs));
