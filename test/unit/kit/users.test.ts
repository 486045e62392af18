import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Role, sharedGroup, userOf } from '../../../src/kit/users.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-users-'));
after(() => rmSync(directory, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

const ROLES: readonly Role[] = ['guard', 'keeper', 'worker'];

test('an installed machine: users and group are those of the account files', () => {
  const passwd = file(
    'passwd',
    'root:x:0:0::/:/bin/sh\npostern-worker2:x:7:7::/:\npostern-worker:x:998:996::/:/usr/sbin/nologin\n',
  );
  const group = file('group', 'root:x:0:\npostern:x:994:postern-guard,postern-worker\n');
  assert.deepEqual(userOf('worker', passwd), { name: 'postern-worker', uid: 998, gid: 996 });
  assert.deepEqual(sharedGroup(group), { name: 'postern', gid: 994 });
});

test('a checkout: fixed numbers, each role its own, none in a range that others give out', () => {
  const empty = file('empty', 'root:x:0:0::/:/bin/sh\n');
  const ids = [...ROLES.map((role) => userOf(role, empty).uid), sharedGroup(empty).gid];
  assert.equal(new Set(ids).size, 4);
  for (const id of ids) assert.ok(id >= 60578 && id <= 61183, `${id} is outside systemd's unused range`);
  for (const role of ROLES) assert.equal(userOf(role, empty).gid, userOf(role, empty).uid);
});
