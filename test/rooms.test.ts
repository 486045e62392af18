/** The fences between the rooms: docs/rooms.md is what holds, and these tests are why. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { allows, complaints, parseRooms } from './kit/fences.ts';

const top = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(top, path), 'utf8');
const rooms = parseRooms(read('docs/rooms.md'));
const files = new Map(globSync('src/**/*.ts', { cwd: top }).map((path) => [path, read(path)]));
const manifest = JSON.parse(read('package.json')) as Record<
  'dependencies' | 'optionalDependencies',
  Record<string, string>
>;
const dependencies = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });

test('every import of src/ stays within its row of docs/rooms.md, and there is no circle', () => {
  assert.ok(rooms.length > 10, 'the table was read');
  assert.ok(files.size > 10, 'the files were read');
  assert.deepEqual(complaints(files, rooms, dependencies), []);
});

const none = { all: false, names: [] };

test('the table itself keeps what no row may give away', () => {
  const mayImport = (what: string): string[] =>
    rooms.filter((room) => allows(room.rooms, what)).map((room) => room.name);
  assert.deepEqual(mayImport('gateway'), ['roles'], 'only the roles know the way');
  for (const pure of ['smtp', 'policy']) {
    const room = rooms.find(({ name }) => name === pure);
    assert.deepEqual(room && [room.node, room.packages], [none, none], `${pure} has no socket, clock or file`);
  }
});

const table = parseRooms(`
| room | one job | rooms | Node | packages |
|---|---|---|---|---|
| kit | - | - | fs | koffi |
| smtp | - | kit | - | - |
| gateway | - | smtp, kit | net | - |
| roles | - | all | all | - |
| cli | - | all but gateway | all | all |
`);
const good = new Map([
  ['src/kit/log.ts', "import { writeSync } from 'node:fs';\nimport koffi from 'koffi';\n// from 'nowhere'\n"],
  ['src/smtp/session.ts', "import type { Log } from '../kit/log.ts';\n"],
  ['src/gateway/way.ts', "import net from 'node:net';\nimport {\n  a,\n} from '../smtp/session.ts';\n"],
  ['src/roles/worker.ts', "import '../gateway/way.ts';\n"],
  [
    'src/cli/run.ts',
    "const x = await import('../roles/worker.ts');\nnew URL('../roles/worker.ts', import.meta.url);\n",
  ],
]);

test('a tree that keeps to its table has no complaint', () => {
  assert.deepEqual(complaints(good, table, ['koffi']), []);
});

for (const [fault, path, line, expected] of [
  ['a Node module', 'src/smtp/session.ts', "import { connect } from 'node:net';", /node:net is not in the row of smtp/],
  [
    'a Node module of the same name with a path',
    'src/kit/log.ts',
    "import fs from 'node:fs/promises';",
    /node:fs\/promises is not/,
  ],
  ['a Node module without its prefix', 'src/cli/run.ts', "import fs from 'fs';", /fs is no dependency/],
  ['a room', 'src/kit/log.ts', "export { a } from '../smtp/a.ts';", /room smtp is not in the row of kit/],
  ['a type', 'src/kit/log.ts', "import type { A } from '../smtp/session.ts';", /room smtp is not in the row of kit/],
  [
    'a type in place',
    'src/kit/log.ts',
    "type A = import('../smtp/session.ts').A;",
    /room smtp is not in the row of kit/,
  ],
  ['an import over lines', 'src/smtp/session.ts', "import {\n  a,\n} from\n  'node:fs';", /node:fs is not in the row/],
  ['a dynamic import', 'src/smtp/session.ts', "await import('node:fs');", /node:fs is not in the row/],
  ['a computed import', 'src/cli/run.ts', 'await import(`./${name}.ts`);', /cannot be followed/],
  ['require', 'src/smtp/session.ts', "createRequire(import.meta.url)('net');", /createRequire.* cannot be followed/],
  [
    'a thread',
    'src/smtp/session.ts',
    "new Worker(new URL('../gateway/way.ts', import.meta.url));",
    /gateway is not in the row of smtp/,
  ],
  ['a package', 'src/smtp/session.ts', "import koffi from 'koffi';", /package koffi is not in the row of smtp/],
  ['a package that is for tests only', 'src/cli/run.ts', "import fc from 'fast-check';", /fast-check is no dependency/],
  ['gateway from elsewhere', 'src/cli/run.ts', "import '../gateway/way.ts';", /room gateway is not in the row of cli/],
  ['a file that is not there', 'src/cli/run.ts', "import './none.ts';", /no file under src/],
  [
    'a circle',
    'src/gateway/way.ts',
    "import '../roles/worker.ts';",
    /a circle: .*way\.ts -> .*worker\.ts -> .*way\.ts|a circle: .*worker\.ts -> .*way\.ts -> .*worker\.ts/,
  ],
  ['a circle of types', 'src/smtp/session.ts', "import type { S } from './session.ts';", /a circle/],
] as const) {
  test(`a planted fault is found: ${fault}`, () => {
    const planted = new Map(good).set(path, `${good.get(path)}${line}\n`);
    const found = complaints(planted, table, ['koffi']);
    assert.ok(
      found.some((text) => expected.test(text)),
      `${expected} not in ${JSON.stringify(found)}`,
    );
  });
}

test('a room without a row, and a row without a room, are found', () => {
  const planted = new Map(good).set('src/attic/x.ts', '');
  planted.delete('src/smtp/session.ts');
  planted.set('src/gateway/way.ts', '');
  assert.deepEqual(complaints(planted, table, ['koffi']), [
    'src/attic/x.ts: room "attic" is not in the table',
    'room "smtp" has no file',
  ]);
});
