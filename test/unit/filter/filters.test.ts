import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { filterThreads } from '../../../src/filter/all.ts';
import { Call } from '../../../src/filter/call.ts';
import type { Filter, FilterDeps } from '../../../src/filter/filter.ts';
import { Gate } from '../../../src/filter/gate.ts';
import { gtube } from '../../../src/filter/gtube.ts';
import { header } from '../../../src/filter/header.ts';
import { Message } from '../../../src/filter/message.ts';
import { runFilters } from '../../../src/filter/run.ts';
import { SpoolBudget, SpooledBody } from '../../../src/wire/spool.ts';
import { systemClock } from '../../../src/kit/clock.ts';
import { silentLog } from '../../../src/kit/log.ts';
import { testConfig } from '../../kit/gateway.ts';
import { filtersOf, mailOf, messageOf } from '../../kit/mail.ts';

const GTUBE = ['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'].join('');
const top = join(import.meta.dirname, '../../..');
const config = await testConfig(['127.0.0.1:2'], {});
const deps: FilterDeps = {
  log: silentLog,
  clock: systemClock,
  threads: filterThreads(config),
  inquire: () => Promise.reject(new Error('nobody is asked')),
};
const call = new Call();

describe('a header', () => {
  test('is read the same in whatever pieces it came', () => {
    const text = 'From: a@a.example\r\nSubject: one\r\n two\r\nX:\r\n\r\nFrom: in the body\r\n';
    for (let size = 1; size <= text.length; size++) {
      assert.deepEqual(
        messageOf(text, size).fields(),
        [
          { name: 'from', value: 'a@a.example' },
          { name: 'subject', value: 'one two' },
          { name: 'x', value: '' },
        ],
        `pieces of ${size}`,
      );
    }
  });

  test('a stuffed dot is undone; a line that is no field ends it', () => {
    assert.deepEqual(
      messageOf('..X: y\r\nFrom: a\r\nnot a field\r\nDate: z\r\n\r\n')
        .fields()
        .map(({ name }) => name),
      ['.x', 'from'],
    );
  });

  test('blanks may stand before the colon; a name of more than 200 characters, or none, is no field', () => {
    const name = 'x'.repeat(200);
    for (const last of [`${name}y: z`, ': z', 'a b: c', '\x7f: z', 'no colon', 'no colon \t']) {
      assert.deepEqual(
        messageOf(`A \t: b: c \r\n${name}:\r\n${last}\r\nDate: z\r\n\r\n`).fields(),
        [
          { name: 'a', value: 'b: c' },
          { name, value: '' },
        ],
        last,
      );
    }
  });

  test('a value is cut at 16 KiB', () => {
    assert.equal(messageOf(`X: ${'y'.repeat(20_000)}\r\n\r\n`).fields()[0]?.value, 'y'.repeat(16 * 1024));
  });

  test('a header without end is cut at 256 KiB', () => {
    const message = messageOf(`From: a\r\nX: ${'y'.repeat(998)}\r\n${'Z: z\r\n'.repeat(100_000)}`, 65_536);
    assert.equal(message.fields()[0]?.name, 'from');
  });

  test('a field folded a hundred thousand times costs no more than what is kept of it', () => {
    const message = messageOf(`X: a\r\n${' b\r\n'.repeat(60_000)}\r\n`, 65_536);
    assert.ok((message.fields()[0]?.value.length ?? 0) <= 16 * 1024);
  });
});

const LENIENT = ['header.date-missing', 'header.duplicate'];

describe('header filter', () => {
  const cases: readonly [string, string[]][] = [
    ['From: a\r\nDate: b\r\n\r\n', []],
    ['Date: b\r\n\r\n', ['header.from-missing']],
    ['From: a\r\n\r\n', ['header.date-missing']],
    ['From: a\r\nfrom: b\r\nDate: c\r\n\r\n', ['header.from-duplicate']],
    ['From : a\r\nDate: c\r\nDATE: c\r\n\r\n', ['header.date-duplicate']],
    ['', ['header.from-missing', 'header.date-missing']],
    ['From: a\r\nDate: b\r\nTo: a\r\nSubject: a\r\nTO: b\r\nto: c\r\n\r\n', ['header.duplicate']],
    ['From: a\r\nDate: b\r\nReceived: a\r\nReceived: b\r\nX: a\r\nX: b\r\n\r\n', []],
  ];
  for (const [text, want] of cases) {
    test(JSON.stringify(text), async () => {
      const filter = header(config, deps);
      const seen = await filter.look(mailOf(text), call);
      assert.deepEqual(
        seen.map((one) => one.class),
        want,
      );
      for (const one of seen)
        assert.equal(filter.actionOf(one.class, one.name), LENIENT.includes(one.class) ? 'ignore' : 'reject');
    });
  }

  test('Date may be off by what is configured, either way; what is no date is not off', async () => {
    const near = {
      ...config,
      filters: { ...config.filters, header: { ...config.filters.header, dateOff: 3_600_000 } },
    };
    const filter = header(near, { ...deps, clock: { nowMs: () => Date.UTC(2026, 10, 23, 10), monotonicMs: () => 0 } });
    for (const [date, want] of [
      ['Mon, 23 Nov 2026 10:59:00 +0000', []],
      ['Mon, 23 Nov 2026 09:01:00 +0000 (UTC)', []],
      ['Mon, 23 Nov 2026 12:01:00 +0100', ['header.date-far']],
      ['Mon, 23 Nov 2026 08:59:00 +0000', ['header.date-far']],
      ['yesterday', []],
    ] as const)
      assert.deepEqual(
        (await filter.look(mailOf(`From: a\r\nDate: ${date}\r\n\r\n`), call)).map((one) => one.class),
        want,
        date,
      );
  });
});

describe('gtube', () => {
  test('is found at every seam, and only whole', async () => {
    const filter = gtube(config);
    const text = `From: a\r\n\r\nxx${GTUBE}\r\n`;
    for (const size of [1, 2, 7, 33, 34, 67, 68, 69, 70, 1000]) {
      assert.equal(
        (await filter.look({ ...mailOf(text), message: messageOf(text, size) }, call)).length,
        1,
        `pieces of ${size}`,
      );
      const other = text.replace('GTUBE', 'GTUBF');
      assert.equal((await filter.look({ ...mailOf(text), message: messageOf(other, size) }, call)).length, 0);
    }
  });
});

test('gtube reads the first MiB of a large message, and no more', async () => {
  const message = messageOf(Buffer.alloc(8 << 20, 'x\r\n'), 1 << 16);
  let readBytes = 0;
  const raw = message.raw.bind(message);
  message.raw = function* () {
    for (const piece of raw()) {
      readBytes += piece.length;
      yield piece;
    }
  };
  assert.deepEqual(await gtube(config).look({ ...mailOf(''), message }, call), []);
  assert.ok(readBytes >= 1 << 20 && readBytes < 2 << 20, `${readBytes}`);
});

describe('running filters', () => {
  const mail = mailOf('From: a\r\nDate: b\r\n\r\n');
  const make = (name: string, look: Filter<'body'>['look'], more: Partial<Filter<'body'>> = {}): Filter<'body'> => ({
    name,
    stage: 'body',
    look,
    actionOf: () => 'reject',
    failure: 'defer',
    ...more,
  });
  const never = (): Promise<never> => new Promise(() => {});
  const finding = (filter: string) => ({ filter, name: 'x', score: 0.5, evidence: '', class: 'spam.gtube' }) as const;

  test("what throws, rejects or is late is that filter's failure, with the meaning that configuration gives", async () => {
    const result = await runFilters(
      [
        make('throws', () => {
          throw new Error('one');
        }),
        make('rejects', () => Promise.reject(new Error('two'))),
        make('late', never),
        make('later', never, { deadlineMs: 20 }),
        ...(await filtersOf('')).body,
      ],
      mail,
      50,
    );
    assert.deepEqual(
      result.failures.map(({ filter, reason }) => [filter, reason]),
      [
        ['throws', 'Error: one'],
        ['rejects', 'Error: two'],
        ['late', 'Error: not done within 50 ms'],
        ['later', 'Error: not done within 20 ms'],
      ],
    );
    assert.deepEqual(
      result.judged,
      ['throws', 'rejects', 'late', 'later'].map((by) => ({ class: 'error.filter', action: 'defer', score: 0, by })),
    );
    assert.deepEqual(result.findings, []);
  });

  test('all of a stage are begun before one is waited for, and are listed in their order', async () => {
    const begun: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const one = make('one', async () => {
      begun.push('one');
      await promise;
      return [finding('one')];
    });
    const two = make('two', () => {
      begun.push('two');
      resolve();
      return [finding('two')];
    });
    const { findings, judged } = await runFilters([one, two], mail, 1000);
    assert.deepEqual(begun, ['one', 'two']);
    assert.deepEqual(
      findings.map(({ filter }) => filter),
      ['one', 'two'],
    );
    assert.deepEqual(judged[0], { class: 'spam.gtube', action: 'reject', score: 0.5, by: 'one' });
  });

  test('what answers later with something that nothing can be made of is a failure, and not waited for', async () => {
    const none = make('none', async () => undefined as never);
    const act = make('act', async () => [finding('act')], {
      actionOf: () => {
        throw new Error('no action');
      },
    });
    const { failures, judged } = await runFilters([none, act], mail, 60_000);
    assert.deepEqual(
      failures.map(({ filter }) => filter),
      ['none', 'act'],
    );
    assert.ok(judged.every(({ action }) => action === 'defer'));
  });

  test('a late filter is told to stop, and what it says afterwards is not heard', async () => {
    let stopped = false;
    let answer: (value: []) => void = () => {};
    const late = make('late', (_mail, { signal }) => {
      signal.addEventListener('abort', () => (stopped = true));
      return new Promise((resolve) => (answer = resolve));
    });
    const quick = make('quick', () => [finding('quick')]);
    const result = await runFilters([late, quick], mail, 20);
    assert.ok(stopped);
    answer([]);
    assert.equal(result.failures.length, 1);
    assert.equal(result.findings.length, 1);
  });

  test('a signal that is asked for too late has aborted', () => {
    const over = new Call();
    over.end();
    assert.ok(over.signal.aborted);
  });

  test('a gate lets so many in at once; who waits too long never begins, and the others keep their order', async () => {
    const gate = new Gate(2);
    const begun: number[] = [];
    const ends: (() => void)[] = [];
    const look = (number: number, deadlineMs: number) =>
      runFilters(
        [
          make(
            'slow',
            () => {
              begun.push(number);
              return new Promise((resolve) => ends.push(() => resolve([])));
            },
            { gate, deadlineMs },
          ),
        ],
        mail,
        10_000,
      );
    const running = [look(0, 5000), look(1, 5000), look(2, 20), look(3, 5000), look(4, 5000)];
    assert.deepEqual((await running[2])?.failures, [{ filter: 'slow', reason: 'Error: not done within 20 ms' }]);
    assert.equal(gate.waiting, 2);
    assert.deepEqual(begun, [0, 1]);
    for (let i = 0; i < 4; i++) {
      while (ends.length <= i) await new Promise(setImmediate);
      ends[i]?.();
    }
    await Promise.all(running);
    assert.deepEqual(begun, [0, 1, 3, 4]);
    assert.equal(gate.waiting, 0);
  });
});

test('what is in the file is looked at like what is in memory', async () => {
  const body = new SpooledBody(new SpoolBudget(1 << 26), 1000, tmpdir());
  const filler = Buffer.from('x'.repeat(70_000));
  for (let i = 0; i < 8; i++) body.append(filler);
  assert.equal((await gtube(config).look({ ...mailOf(''), message: new Message(body) }, call)).length, 0);
  // Across the seam between two reads of the file.
  body.append(Buffer.from('y'.repeat(256 * 1024 - (body.sizeBytes % (256 * 1024)) - 30)));
  body.append(Buffer.from(GTUBE));
  assert.equal((await gtube(config).look({ ...mailOf(''), message: new Message(body) }, call)).length, 1);
  body.release();
});

test('what was past a limit is told where a filter needs what is in a message, and only there', async () => {
  const names = async (lines: string): Promise<string[]> => (await filtersOf(lines)).body.map(({ name }) => name);
  assert.ok(!(await names('')).includes('content'));
  const list = import.meta.filename;
  for (const lines of [
    'attachments.enabled = true',
    'campaign.enabled = true',
    `urls.files = ["${list}"]`,
    'url_dns.lists = ["uri.example.org"]',
    '[[rule]]\nname = "a"\nbody = "x"',
  ])
    assert.ok((await names(lines)).includes('content'), lines);
  assert.ok(!(await names('[[rule]]\nname = "a"\nheader = "x"')).includes('content'));
  for (const file of globSync('src/filter/*.ts', { cwd: top })) {
    const text = readFileSync(join(top, file), 'utf8');
    if (!text.includes('contentReader(') || file.endsWith('/content.ts')) continue;
    assert.ok(text.includes("needs: 'content'"), `${file} asks what is in a message, and does not say so`);
  }
});
