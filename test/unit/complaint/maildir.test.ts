/** The Maildir of complaints: each mail once, and none is held up by what cannot be taken. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { maildir } from '../../../src/complaint/maildir.ts';

function box(t: TestContext): { dir: string; said: string[]; log: Parameters<typeof maildir>[2] } {
  const dir = mkdtempSync(join(tmpdir(), 'postern-maildir-'));
  t.after(() => rmSync(dir, { recursive: true }));
  mkdirSync(join(dir, 'new'));
  const said: string[] = [];
  return { dir, said, log: { write: (_level, event) => void said.push(event) } };
}

test('a mail that cannot be moved is not read, which is said once; when it can be, each is noted once', async (t) => {
  const { dir, said, log } = box(t);
  for (const name of ['1', '2']) writeFileSync(join(dir, 'new', name), name);
  const noted: string[] = [];
  const { look } = maildir(dir, async (mail) => void noted.push(mail), log);
  await look();
  await look();
  assert.deepEqual([noted, said], [[], ['complaints.not-read']]);
  mkdirSync(join(dir, 'cur'));
  await look();
  await look();
  assert.deepEqual([noted, said.length, readdirSync(join(dir, 'cur'))], [['1', '2'], 1, ['1:2,S', '2:2,S']]);
});

test('one that cannot be noted just now comes again', async (t) => {
  const { dir, said, log } = box(t);
  mkdirSync(join(dir, 'cur'));
  for (const name of ['1', '2']) writeFileSync(join(dir, 'new', name), name);
  const noted: string[] = [];
  let isReady = false;
  const note = async (mail: string): Promise<void> => {
    if (!isReady && mail === '1') throw new Error('the journal is away');
    noted.push(mail);
  };
  const { look } = maildir(dir, note, log);
  await look();
  assert.deepEqual([noted, said, readdirSync(join(dir, 'new'))], [['2'], ['complaints.not-read'], ['1']]);
  isReady = true;
  await look();
  assert.deepEqual(noted, ['2', '1']);
});

test('a directory, a pipe or a link holds up nothing behind it', { timeout: 60_000 }, async (t) => {
  const { dir, said, log } = box(t);
  mkdirSync(join(dir, 'cur'));
  mkdirSync(join(dir, 'new', '1'));
  execFileSync('mkfifo', [join(dir, 'new', '2')]);
  writeFileSync(join(dir, 'secret'), 'secret');
  symlinkSync(join(dir, 'secret'), join(dir, 'new', '3'));
  writeFileSync(join(dir, 'new', '4'), '4');
  const noted: string[] = [];
  const { look } = maildir(dir, async (mail) => void noted.push(mail), log);
  await look();
  await look();
  assert.deepEqual([noted, said, readdirSync(join(dir, 'new'))], [['4'], ['complaints.not-read'], ['1', '2', '3']]);
});
