import assert from 'node:assert/strict';
import { lstatSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { writeAtomically } from '../../../src/kit/files.ts';

const top = mkdtempSync(join(tmpdir(), 'postern-files-'));
after(() => rmSync(top, { recursive: true }));

test('a file or a link in the place of the temporary one is nothing that is written to', () => {
  const [path, other] = [join(top, 'a'), join(top, 'other')];
  for (const put of [(at: string) => writeFileSync(at, 'left by a crash'), (at: string) => symlinkSync(other, at)]) {
    writeFileSync(other, 'of somebody else', { mode: 0o600 });
    put(`${path}.new`);
    writeAtomically(path, 'text', 0o640);
    assert.deepEqual([readFileSync(path, 'utf8'), readFileSync(other, 'utf8')], ['text', 'of somebody else']);
    assert.deepEqual([lstatSync(path).mode, lstatSync(other).mode], [0o100640, 0o100600]);
  }
});
