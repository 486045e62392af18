/** Subscribers from the configuration and from a directory: what is read, what is refused and where, and how fast. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { copiedSubscribers, loadConfig } from '../../../src/config/load.ts';
import { sendersOf } from '../../../src/identity/senders.ts';
import { count } from '../../kit/tier.ts';
import { goodToml } from './outside.fake.ts';
import { within } from '../../kit/pace.ts';

const top = mkdtempSync(join(tmpdir(), 'postern-subscribers-'));
after(() => rmSync(top, { recursive: true }));
let places = 0;

/** A configuration with these files in its directory; `toml` stands at its end. */
function place(files: Readonly<Record<string, string>>, toml = ''): string {
  const home = join(top, String(++places));
  mkdirSync(join(home, 'subscribers'), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(home, 'subscribers', name), text);
  writeFileSync(join(home, 'a.toml'), `${goodToml}[subscribers]\ndirectory = "${home}/subscribers"\n${toml}`);
  return join(home, 'a.toml');
}

async function messages(path: string): Promise<string[]> {
  const result = await loadConfig(path, {});
  const home = join(path, '..');
  return result.ok ? [] : result.errors.map(({ message }) => message.replaceAll(`${home}/`, ''));
}

const web1 = '[[subscriber]]\nname = "web-1"\nprefixes = ["198.51.100.7"]\n';

test('from the file itself, from TOML and CSV in the directory; other files and drafts are left alone', async () => {
  const path = place(
    {
      'b.csv':
        'name,prefixes,contact,mode,max_connections\nweb-2,198.51.100.8 2001:db8:1:8::1,abuse@b.example,,5\nweb-3,198.51.100.16/28,,block,\n',
      'a.toml': '[[subscriber]]\nname = "web-4"\nprefixes = ["2001:db8:1:4::/64"]\nlog = "hash"\n',
      '.c.csv.new': 'nonsense',
      'README.md': 'nonsense',
    },
    web1,
  );
  const result = await loadConfig(path, {});
  assert.ok(result.ok, result.ok ? '' : result.errors.map(({ message }) => message).join('\n'));
  const shown = result.config.subscriber.map(({ place: { file, line }, prefixes, ...rest }) => ({
    ...rest,
    prefixes: prefixes.map(({ text }) => text),
    at: `${file.split('/').at(-1)}:${line}`,
  }));
  assert.deepEqual(shown, [
    { name: 'web-1', prefixes: ['198.51.100.7/32'], at: 'a.toml:16' },
    { name: 'web-4', prefixes: ['2001:db8:1:4::/64'], log: 'hash', at: 'a.toml:1' },
    {
      name: 'web-2',
      prefixes: ['198.51.100.8/32', '2001:db8:1:8::/64'],
      contact: 'abuse@b.example',
      maxConnections: 5,
      at: 'b.csv:2',
    },
    { name: 'web-3', prefixes: ['198.51.100.16/28'], mode: 'block', at: 'b.csv:3' },
  ]);
});

for (const [what, files, toml, expected] of [
  [
    'a column that is none, and one that is missing',
    { 'a.csv': 'name,prefixs\n' },
    '',
    [
      /^subscribers\/a\.csv:1: head = "prefixs": expected a column of: .*; did you mean "prefixes"\?$/,
      /expected a column "prefixes"$/,
    ],
  ],
  [
    'a bad value in a cell',
    { 'a.csv': 'name,prefixes,max_connections\nx,198.51.100.7,many\n' },
    '',
    [/^subscribers\/a\.csv:2: max_connections = "many": expected a whole number from 1 to 100000$/],
  ],
  [
    'a row that is short, and one without a name',
    { 'a.csv': 'name,prefixes\nx\n,198.51.100.7\n' },
    '',
    [/a\.csv:2: expected 2 values as in the head; this row has 1$/, /a\.csv:3: name = "": expected a name of/],
  ],
  [
    'an IPv6 address with more than 64 bits, and host bits',
    { 'a.csv': 'name,prefixes\nx,2001:db8:1::7/128\ny,198.51.100.7/24\n' },
    '',
    [/a\.csv:2: prefixes = "2001.*IPv6 prefix of at most 64 bits/, /a\.csv:3: prefixes = "198/],
  ],
  ['TOML that is none', { 'a.toml': '[[subscriber]]\nname = x\n' }, '', [/subscribers\/a\.toml:2: expected TOML;/]],
  [
    'a key that is none',
    { 'a.toml': '[[subscriber]]\nname = "x"\nprefixes = ["198.51.100.7"]\nmod = "block"\n' },
    '',
    [/subscribers\/a\.toml:4: subscriber\[0\]\.mod = "block": expected a known key; did you mean "mode"\?$/],
  ],
  [
    'a name twice, in two files',
    { 'a.csv': 'name,prefixes\nweb-1,198.51.100.9\n' },
    web1,
    [/^subscribers\/a\.csv:2: name = "web-1": expected a name of its own, unlike a\.toml:16$/],
  ],
  [
    'a prefix twice',
    { 'a.csv': 'name,prefixes\nx,198.51.100.7\n' },
    web1,
    [
      /a\.csv:2: prefixes = "198\.51\.100\.7\/32": expected a prefix of its own; subscriber "web-1" has it, a\.toml:16$/,
    ],
  ],
  [
    'a prefix in no network, one that holds a network',
    { 'a.csv': 'name,prefixes\nx,203.0.113.0/24\ny,198.51.0.0/16\n' },
    '',
    [/a\.csv:2: .*expected a prefix that lies in one of a network$/, /a\.csv:3: .*that lies in one of a network$/],
  ],
  [
    'prefixes in two networks',
    { 'a.csv': 'name,prefixes\nx,198.51.100.7 203.0.113.7\n' },
    '[[network]]\nname = "two"\nprefixes = ["203.0.113.0/24"]\n',
    [/a\.csv:2: .*expected a prefix in network "customers" like the one before; it is in "two"$/],
  ],
  [
    'faults in the configuration itself',
    {},
    '[[subscriber]]\nname = "a b"\nprefixes = ["198.51.100.7", "x"]\n',
    [
      /^a\.toml:17: subscriber\[0\]\.name = "a b": expected a name/,
      /^a\.toml:18: subscriber\[0\]\.prefixes\[1\] = "x"/,
    ],
  ],
] as const)
  test(`refused with file, line and what was expected: ${what}`, async () => {
    const said = await messages(place(files, toml));
    assert.equal(said.length, expected.length, said.join('\n'));
    for (const [i, pattern] of expected.entries()) assert.match(said[i] as string, pattern);
  });

test('a directory that is not there is said', async () => {
  const path = place({});
  rmSync(join(path, '../subscribers'), { recursive: true });
  assert.deepEqual(await messages(path), ['subscribers: expected a directory that can be read: there is no such file']);
});

test('beside a copy of a configuration the copies of its files count', async () => {
  const path = place({ 'a.csv': 'broken' });
  mkdirSync(copiedSubscribers(path));
  writeFileSync(join(copiedSubscribers(path), 'a.csv'), 'name,prefixes\ngood,198.51.100.7\n');
  const result = await loadConfig(path, {});
  assert.deepEqual(result.ok && result.config.subscriber.map(({ name }) => name), ['good']);
});

test('100,000 subscribers load in under 2 s and are found in under 3 µs', async () => {
  const rows = Array.from({ length: 100_000 }, (_, i) => {
    const [a, b, c] = [(i >> 16) & 255, (i >> 8) & 255, i & 255];
    return `c-${i},10.${a}.${b}.${c} 2001:db8:${(i >> 8).toString(16)}:${c.toString(16)}::/64,abuse@c${i}.example,${(i % 100) + 1}`;
  });
  const text = `name,prefixes,contact,max_connections\n${rows.join('\n')}\n`;
  const path = place({ 'all.csv': text }, '[[network]]\nname = "all"\nprefixes = ["10.0.0.0/8", "2001:db8::/33"]\n');
  const networks = goodToml.replace('"2001:db8:1::/48"', '"2001:db9::/32"');
  writeFileSync(
    path,
    `${networks}[subscribers]\ndirectory = "${join(path, '../subscribers')}"\n[[network]]\nname = "all"\nprefixes = ["10.0.0.0/8", "2001:db8::/32"]\n`,
  );
  // The time of the processor, not of the clock: other tests run beside this one.
  const took = async <T>(what: () => Promise<T> | T): Promise<[T, number]> => {
    const before = process.cpuUsage();
    const value = await what();
    const { user, system } = process.cpuUsage(before);
    return [value, (user + system) / 1000];
  };
  const [result, loadMs] = await took(() => loadConfig(path, {}));
  assert.ok(result.ok, result.ok ? '' : (result.errors[0]?.message ?? ''));
  // A second time: what other tests do to the machine is not ours.
  const [, againMs] = await took(() => loadConfig(path, {}));
  const senders = sendersOf(result.config);
  const addresses = Array.from({ length: count(50_000, 1_000_000) }, (_, j) => {
    const i = (j * 7919) % 100_000;
    const [a, b, c] = [(i >> 16) & 255, (i >> 8) & 255, i & 255];
    return [i, j % 2 ? `10.${a}.${b}.${c}` : `2001:db8:${(i >> 8).toString(16)}:${c.toString(16)}::5`] as const;
  });
  // Settings are put together at the first time; what counts is every other.
  for (const [i, address] of addresses) assert.equal(senders.find(address)?.subscriber?.name, `c-${i}`);
  const [, findMs] = await took(() => {
    for (const [, address] of addresses) senders.find(address);
  });
  const findUs = (findMs / addresses.length) * 1000;
  assert.ok(within(Math.min(loadMs, againMs), 2000), `loading took ${Math.round(loadMs)} ms of processor time`);
  assert.ok(within(findUs, 3), `a look-up took ${findUs.toFixed(2)} µs`);
});

test('a list in a cell: one element as it is, several with blanks or, where they have some, semicolons', async () => {
  const path = place({
    'a.csv':
      'name,prefixes,identity,limit_messages\nx,198.51.100.7,header X-AuthUser,5/hour 9/day\ny,198.51.100.8,header X-A (a b); sender,5/hour;9/day\n',
  });
  const result = await loadConfig(path, {});
  assert.ok(result.ok);
  assert.deepEqual(
    result.config.subscriber.map(({ identity, limitMessages }) =>
      [identity, limitMessages].map((all) => all?.map(({ text }) => text)),
    ),
    [
      [['header X-AuthUser'], ['5/hour', '9/day']],
      [
        ['header X-A (a b)', 'sender'],
        ['5/hour', '9/day'],
      ],
    ],
  );
});

test('a link among the files is not followed: whoever writes them need not be allowed to read what it leads to', async () => {
  const path = place({});
  writeFileSync(join(path, '../elsewhere'), 'root:a-secret\n');
  symlinkSync(join(path, '../elsewhere'), join(path, '../subscribers/a.csv'));
  assert.deepEqual(await messages(path), [
    'subscribers/a.csv: expected a file that can be read: it is a symbolic link, which is not followed here',
  ]);
});
