import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { runPaths } from '../../../src/kit/run-dir.ts';
import { sharedGroup, userOf } from '../../../src/kit/users.ts';
import { copiedSubscribers } from '../../../src/config/load.ts';
import { makeDirectories, refuseUnreadableCode, writeCheckedConfig } from '../../../src/roles/directories.ts';
import { needsRoot } from '../../kit/tier.ts';

describe('directories of a checkout', { skip: needsRoot }, () => {
  let top: string;
  let runDir: string;
  let stateDir: string;
  beforeEach(() => {
    top = mkdtempSync(join(tmpdir(), 'postern-directories-'));
    chmodSync(top, 0o755);
    [runDir, stateDir] = [join(top, 'run/postern'), join(top, 'lib/postern')];
  });
  afterEach(() => rmSync(top, { recursive: true }));

  const ownerOf = (path: string): [uid: number, gid: number, mode: string] => {
    const { uid, gid, mode } = statSync(path);
    return [uid, gid, (mode & 0o7777).toString(8)];
  };

  test('made with their parents, and the same when they are there already', () => {
    const { uid, gid } = userOf('keeper');
    for (let round = 0; round < 2; round++) {
      makeDirectories(runDir, stateDir);
      assert.deepEqual(ownerOf(stateDir), [uid, gid, '700']);
      assert.deepEqual(ownerOf(runPaths(runDir).keeperDir), [uid, sharedGroup().gid, '2750']);
      assert.deepEqual(ownerOf(runPaths(runDir).issuerDir), [uid, userOf('worker').gid, '2750']);
      writeFileSync(join(stateDir, 'journal'), 'precious');
      chownSync(join(stateDir, 'journal'), uid, gid);
    }
    assert.equal(statSync(join(stateDir, 'journal')).size, 8);
  });

  test("a state_dir with somebody else's files is left alone", () => {
    mkdirSync(stateDir, { recursive: true });
    writeFileSync(join(stateDir, 'passwd'), '');
    const before = ownerOf(stateDir);
    assert.throws(
      () => makeDirectories(runDir, stateDir),
      /state_dir .* holds files and does not belong to postern-keeper/,
    );
    assert.deepEqual(ownerOf(stateDir), before);
  });

  test('a run_dir in which others may write is refused', () => {
    mkdirSync(runDir, { recursive: true });
    chmodSync(runDir, 0o1777);
    assert.throws(() => makeDirectories(runDir, stateDir), /run_dir .* can be written by others/);
    chmodSync(runDir, 0o755);
    chownSync(runDir, 65534, 65534);
    assert.throws(() => makeDirectories(runDir, stateDir), /run_dir .* can be written by others/);
  });

  test('a directory that a role cannot reach is named before the role trips over it', () => {
    makeDirectories(runDir, stateDir);
    chmodSync(join(top, 'lib'), 0o700);
    assert.throws(() => makeDirectories(runDir, stateDir), /state_dir .* cannot be reached by postern-keeper/);
    chmodSync(join(top, 'run'), 0o700);
    assert.throws(() => makeDirectories(runDir, stateDir), /run_dir .* cannot be reached by postern-guard/);
  });

  test("where an earlier keeper's socket or link stands, the link is made anew", () => {
    makeDirectories(runDir, stateDir);
    const { keeperSocket } = runPaths(runDir);
    rmSync(keeperSocket);
    symlinkSync('/etc/passwd', keeperSocket);
    makeDirectories(runDir, stateDir);
    writeFileSync(runPaths(runDir).keeperListen, 'here');
    assert.equal(statSync(keeperSocket).size, 4);
  });

  test('the checked configuration is for root to write and for the roles to read', () => {
    makeDirectories(runDir, stateDir);
    const before = process.umask(0o077);
    for (const text of ['a', 'longer']) writeCheckedConfig(runDir, text, undefined);
    process.umask(before);
    assert.deepEqual(ownerOf(runPaths(runDir).config), [0, sharedGroup().gid, '640']);
    assert.equal(statSync(runPaths(runDir).config).size, 6);
  });

  test('the files of subscribers stand beside it, readable for the roles, and go with their directory', () => {
    makeDirectories(runDir, stateDir);
    const from = join(top, 'subscribers');
    mkdirSync(from, { mode: 0o700 });
    writeFileSync(join(from, 'a.csv'), 'a', { mode: 0o600 });
    writeFileSync(join(from, '.b.csv.new'), 'b');
    const copies = copiedSubscribers(runPaths(runDir).config);
    writeCheckedConfig(runDir, 'a', from);
    assert.deepEqual(readdirSync(copies), ['a.csv']);
    assert.deepEqual(ownerOf(copies), [0, sharedGroup().gid, '750']);
    assert.deepEqual(ownerOf(join(copies, 'a.csv')), [0, sharedGroup().gid, '640']);
    rmSync(join(from, 'a.csv'));
    symlinkSync('/etc/passwd', join(from, 'a.csv'));
    assert.throws(() => writeCheckedConfig(runDir, 'a', from), /ELOOP/);
    rmSync(join(from, 'a.csv'));
    writeCheckedConfig(runDir, 'a', from);
    assert.deepEqual(readdirSync(copies), []);
    writeCheckedConfig(runDir, 'a', undefined);
    assert.ok(!existsSync(copies));
  });

  test('code that only its owner may read is named, with what to do', () => {
    const code = join(top, 'shut/checkout');
    mkdirSync(join(code, 'src'), { recursive: true });
    mkdirSync(join(code, 'node_modules'));
    writeFileSync(join(code, 'src/main.ts'), '', { mode: 0o644 });
    chmodSync(join(top, 'shut'), 0o700);
    const node = join(code, 'node_modules/node');
    writeFileSync(node, '', { mode: 0o755 });
    refuseUnreadableCode(code, node);
    chmodSync(join(code, 'src/main.ts'), 0o600);
    assert.throws(
      () => refuseUnreadableCode(code, node),
      /src\/main.ts can be read by its owner alone.*chmod -R a\+rX/,
    );
    chmodSync(join(code, 'src/main.ts'), 0o644);
    assert.throws(() => refuseUnreadableCode(join(top, 'elsewhere'), node), /node cannot be run by postern-worker/);
  });
});
