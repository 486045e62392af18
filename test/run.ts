/**
 * npm test: every test/**\/*.test.ts with the project's own Node, one summary at the end.
 *
 * Files run side by side, also those named *.lab.test.ts, which make networks and start whole gateways: each has namespaces
 * and directories of its own, and waits more than it works. Files named *.alone.test.ts run at the end and one at a time: they
 * measure what the machine can do, or look at what all labs have in common.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { delimiter, join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { run, type TestsStream } from 'node:test';
import { spec } from 'node:test/reporters';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { Results } from './results.ts';

const usage = `npm test -- [OPTIONS]
  --only PART        only files whose path contains PART, for example --only rooms
  --long             full numbers instead of reduced ones (npm run test:long); writes docs/results.md
  --update-golden    write golden files anew instead of comparing; look at the diff
  --seed NUMBER      repeat a run of generated cases
`;

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    long: { type: 'boolean', default: false },
    'update-golden': { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  process.stdout.write(usage);
  process.exit(0);
}

const top = join(import.meta.dirname, '..');
process.chdir(top);
process.env['POSTERN_SEED'] = options.seed;
if (options.long) process.env['POSTERN_LONG'] = '1';
if (options['update-golden']) process.env['POSTERN_UPDATE_GOLDEN'] = '1';
// Every file starts in a process of its own, and many start the program itself: Node keeps what it has made of the sources.
process.env['NODE_COMPILE_CACHE'] = join(top, '.cache/compiled');
// Programs of the system that are not in everybody's PATH, and those that appliance/setup.sh has unpacked.
process.env['PATH'] = [process.env['PATH'], '/usr/sbin', '/sbin', join(top, '.cache/bin')].join(delimiter);

const files = globSync('test/**/*.test.ts')
  .filter((file) => file.includes(options.only))
  .sort();
if (files.length === 0) {
  process.stderr.write(`No test file has "${options.only}" in its path.\n${usage}`);
  process.exit(1);
}
const isAlone = (file: string): boolean => file.endsWith('.alone.test.ts');
/** Most files wait for a part of their time. */
const SIDE_BY_SIDE = availableParallelism() + 1;
const SLOWEST = 10;
const results = new Results();

// A test that hangs is ended; one that needs longer says so itself with its own timeout. A file whose tests are done is
// ended as well, whatever they have left open: otherwise the whole run would hang.
const testTimeoutMs = options.long ? 3_600_000 : 300_000;

function start(some: readonly string[], concurrency: number): TestsStream {
  return run({
    files: some.map((file) => join(top, file)),
    concurrency,
    execArgv: [`--test-timeout=${testTimeoutMs}`, '--import', pathToFileURL(join(top, 'test/end.ts')).href],
  });
}

type Event = { readonly type: string; readonly data: Parameters<Results['add']>[1] };

/** The events of both groups as one run: the runner's closing lines are held back, and given once with the sums. */
async function* events(): AsyncGenerator<Event> {
  const sums = new Map<string, number>([['seed', Number(options.seed)]]);
  const times: [ms: number, file: string][] = [];
  let closed: Event | undefined;
  for (const [group, concurrency] of [
    [files.filter((file) => !isAlone(file)), SIDE_BY_SIDE],
    [files.filter(isAlone), 1],
  ] as const) {
    if (group.length === 0) continue;
    for await (const event of start(group, concurrency) as AsyncIterable<Event>) {
      const closing = event.data.file === undefined ? /^(\w+) ([\d.]+)$/.exec(event.data.message ?? '') : null;
      if (event.type === 'test:diagnostic' && closing?.[1] !== undefined) {
        sums.set(closing[1], (sums.get(closing[1]) ?? 0) + Number(closing[2]));
        continue;
      }
      if (event.type === 'test:summary' && event.data.file === undefined) {
        closed = event;
        continue;
      }
      if (event.type === 'test:fail') process.exitCode = 1;
      results.add(event.type, event.data);
      const { name, file, details } = event.data;
      if (event.type === 'test:complete' && name === file) times.push([details?.duration_ms ?? 0, name ?? '']);
      yield event;
    }
  }
  // Nothing ran, or the runner speaks otherwise than expected: never green.
  if (!sums.get('tests') || sums.get('fail') || sums.get('cancelled')) process.exitCode = 1;
  // At this event the reporter lists what failed.
  if (closed) yield closed;
  const slowest = times.sort(([a], [b]) => b - a).slice(0, SLOWEST);
  const lines = [
    ...slowest.map(([ms, file]) => `${(ms / 1000).toFixed(1).padStart(5)} s ${relative(top, file)}`),
    ...[...sums].map(([word, sum]) => `${word} ${Math.round(sum)}`),
  ];
  for (const message of lines) yield { type: 'test:diagnostic', data: { nesting: 0, message, level: 'info' } };
}

// The mail servers of Debian are fetched beside the tests that need none.
if (options.only === '') {
  const unpacking = spawn(process.execPath, [join(top, 'test/kit/unpack-main.ts'), 'machines'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  unpacking.unref();
  process.once('exit', () => unpacking.kill());
}
process.stdout.write(`${files.length} files, seed ${options.seed}${options.long ? ', full numbers' : ''}\n`);
Readable.from(events())
  .pipe(new spec())
  .on('end', () => {
    if (options.long) results.write(options.seed);
  })
  .pipe(process.stdout);
