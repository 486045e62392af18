/** 40: every regular expression of the program, on texts that are made to take it long. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createContext, Script } from 'node:vm';
import { hostileTo, patternsIn } from '../../kit/patterns.ts';
import { randomFrom } from '../../kit/random.ts';
import { count, isLong, seed } from '../../kit/tier.ts';
import { within } from '../../kit/pace.ts';

const top = join(import.meta.dirname, '../../..');
const LENGTH = 100_000;
const MAX_MS = 50;
/** These see the lines of a configuration alone, which the operator writes. */
const OF_CONFIGURATION = /^src\/config\/(?:lines|syntax)\.ts/;
const LINE_LENGTH = 5000;
/** Other texts each time where there is time to find some. */
const START = isLong ? seed : 1;
/** One that backtracks without end is stopped. */
const TIMEOUT_MS = 400;

/** Those that are put together when a file is loaded. */
const MADE = ['smtp/command.ts', 'smtp/parameters.ts', 'config/schema.ts'];

async function madeIn(file: string): Promise<RegExp[]> {
  const made: RegExp[] = [];
  const plain = globalThis.RegExp;
  globalThis.RegExp = new Proxy(plain, {
    construct(target, args: ConstructorParameters<typeof RegExp>) {
      const pattern = new target(...args);
      made.push(pattern);
      return pattern;
    },
  });
  try {
    await import(join(top, 'src', file));
  } finally {
    globalThis.RegExp = plain;
  }
  return made;
}

const sandbox: { pattern?: RegExp; text?: string } = createContext({});
const script = new Script("pattern.lastIndex = 0; pattern.test(text); text.replace(pattern, '')");

/** CPU time, for the machine has other things to do. */
function timeOf(pattern: RegExp, text: string): number {
  Object.assign(sandbox, { pattern, text });
  for (let timeoutMs = TIMEOUT_MS; ; timeoutMs *= 2) {
    const before = process.threadCpuUsage();
    let isDone = true;
    try {
      script.runInContext(sandbox, { timeout: timeoutMs });
    } catch {
      isDone = false;
    }
    const { user, system } = process.threadCpuUsage(before);
    const tookMs = (user + system) / 1000;
    if (isDone) return tookMs;
    // The time-out goes by the clock: what had the processor for most of it has no end in sight.
    if (tookMs > TIMEOUT_MS / 2) return Number.POSITIVE_INFINITY;
  }
}

/** The worst text for a pattern, if it takes too long twice. */
function worst(pattern: RegExp, words: number, length = LENGTH): string | undefined {
  return hostileTo(pattern, length, words, randomFrom(START)).find(
    (text) => !within(timeOf(pattern, text), MAX_MS) && !within(timeOf(pattern, text), MAX_MS),
  );
}

test('Shows 3: 40: each pattern on 100 kB of what it has itself: under 50 ms', async () => {
  const patterns: [where: string, pattern: RegExp][] = [];
  for (const file of globSync('src/**/*.ts', { cwd: top }))
    for (const { pattern, line } of patternsIn(readFileSync(join(top, file), 'utf8')))
      patterns.push([`${file}:${line}`, pattern]);
  assert.ok(patterns.length > 150, `${patterns.length}`);
  for (const file of MADE) {
    const made = await madeIn(file);
    assert.ok(made.length > 0, file);
    for (const pattern of made) patterns.push([`src/${file}`, pattern]);
  }
  const slow = patterns.flatMap(([where, pattern]) => {
    const length = OF_CONFIGURATION.test(where) ? LINE_LENGTH : LENGTH;
    const text = worst(pattern, count(3, 200), length);
    return text === undefined ? [] : [`${where}: ${String(pattern)} on ${JSON.stringify(text.slice(0, 10))}…`];
  });
  assert.deepEqual(slow, [], `seed ${START}`);
});

test('a pattern that takes long is seen, and what is none is none', () => {
  const source = [
    'const a = 1 / 2 / 3; // /no/',
    "const s = '/no/' + `/no/ ${x.replace(/yes1/g, '`')} /no/`;",
    'f(/[/]yes2\\//i); const g = () => /yes3/;',
  ];
  assert.deepEqual(
    patternsIn(source.join('\n')).map(({ pattern, line }) => [String(pattern), line]),
    [
      ['/yes1/g', 2],
      ['/[/]yes2\\//i', 3],
      ['/yes3/', 3],
    ],
  );
  for (const pattern of [/[\s.\0]+$/, /\d+ path=([^\n]*)\n/, /^(?:a+)+b$/, /(?:x|y|xy)*z/])
    assert.notEqual(worst(pattern, 60), undefined, String(pattern));
});
