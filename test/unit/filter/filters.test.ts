import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { describe, test } from 'node:test';
import { allFilters } from '../../../src/filter/all.ts';
import type { Filter } from '../../../src/filter/filter.ts';
import { gtube } from '../../../src/filter/gtube.ts';
import { header } from '../../../src/filter/header.ts';
import { Message } from '../../../src/filter/message.ts';
import { runFilters } from '../../../src/filter/run.ts';
import { SpoolBudget, SpooledBody } from '../../../src/wire/spool.ts';
import { testConfig } from '../../kit/gateway.ts';

const signal = new AbortController().signal;
const GTUBE = ['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'].join('');
const { filters: config } = await testConfig(['127.0.0.1:2'], {});

/** A message in pieces of `size`. */
function messageOf(text: string, size = text.length): Message {
  const body = new SpooledBody(new SpoolBudget(1 << 26), 1 << 25, tmpdir());
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length; at += size) body.append(bytes.subarray(at, at + size));
  return new Message(body);
}

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

describe('header filter', () => {
  const cases: readonly [string, string[]][] = [
    ['From: a\r\nDate: b\r\n\r\n', []],
    ['Date: b\r\n\r\n', ['header.from-missing']],
    ['From: a\r\n\r\n', ['header.date-missing']],
    ['From: a\r\nfrom: b\r\nDate: c\r\n\r\n', ['header.from-duplicate']],
    ['From : a\r\nDate: c\r\nDATE: c\r\n\r\n', ['header.date-duplicate']],
    ['', ['header.from-missing', 'header.date-missing']],
  ];
  for (const [text, want] of cases) {
    test(JSON.stringify(text), async () => {
      const seen = await header.look(messageOf(text), signal);
      assert.deepEqual(
        seen.map((one) => one.class),
        want,
      );
      for (const one of seen) assert.ok(['ignore', 'defer', 'reject'].includes(header.actionOf(one.class, config)));
    });
  }
});

describe('gtube', () => {
  test('is found at every seam, and only whole', async () => {
    const text = `From: a\r\n\r\nxx${GTUBE}\r\n`;
    for (const size of [1, 2, 7, 33, 34, 67, 68, 69, 70, 1000]) {
      assert.equal((await gtube.look(messageOf(text, size), signal)).length, 1, `pieces of ${size}`);
      assert.equal((await gtube.look(messageOf(text.replace('GTUBE', 'GTUBF'), size), signal)).length, 0);
    }
  });
});

describe('running filters', () => {
  const message = messageOf('From: a\r\nDate: b\r\n\r\n');
  const make = (name: string, look: Filter['look']): Filter => ({
    name,
    look,
    actionOf: () => 'reject',
    failure: () => 'defer',
  });

  test("what throws, rejects or is late is that filter's failure, with the meaning that configuration gives", async () => {
    const result = await runFilters(
      [
        make('throws', () => {
          throw new Error('one');
        }),
        make('rejects', () => Promise.reject(new Error('two'))),
        make('late', () => new Promise(() => {})),
        ...allFilters,
      ],
      message,
      { ...config, deadline: 50 },
    );
    assert.deepEqual(
      result.failures.map(({ filter, reason }) => [filter, reason]),
      [
        ['throws', 'Error: one'],
        ['rejects', 'Error: two'],
        ['late', 'Error: not done within 50 ms'],
      ],
    );
    assert.deepEqual(
      result.seen,
      ['throws', 'rejects', 'late'].map(() => ({ class: 'error.filter', action: 'defer' })),
    );
    assert.deepEqual(result.findings, []);
  });

  test('no filter is told to stop because one of another run was late', async () => {
    const signals: AbortSignal[] = [];
    const quick = make('quick', (_message, abort) => {
      signals.push(abort);
      return [];
    });
    await runFilters([quick], message, config);
    await runFilters([quick, make('late', () => new Promise(() => {}))], message, { ...config, deadline: 20 });
    await runFilters([quick], message, config);
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [true, true, false],
      'the first two share one, for the first was over',
    );
  });

  test('a late filter is told to stop', async () => {
    let stopped = false;
    await runFilters(
      [
        make(
          'late',
          (_message, abort) =>
            new Promise(() => {
              abort.addEventListener('abort', () => (stopped = true));
            }),
        ),
      ],
      message,
      { ...config, deadline: 20 },
    );
    assert.ok(stopped);
  });
});

test('what is in the file is looked at like what is in memory', async () => {
  const body = new SpooledBody(new SpoolBudget(1 << 26), 1000, tmpdir());
  const filler = Buffer.from('x'.repeat(70_000));
  for (let i = 0; i < 12; i++) body.append(filler);
  assert.equal((await gtube.look(new Message(body), signal)).length, 0);
  // Across the seam between two reads of the file.
  body.append(Buffer.from('y'.repeat(256 * 1024 - (body.sizeBytes % (256 * 1024)) - 30)));
  body.append(Buffer.from(GTUBE));
  assert.equal((await gtube.look(new Message(body), signal)).length, 1);
  body.release();
});
