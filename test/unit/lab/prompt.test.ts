/** The prompt on commands from a pipe, with a gateway that only says how it was called. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { keepProblem } from '../../../src/lab/lab.ts';

const PROMPT = join(import.meta.dirname, '../../../src/lab/prompt.ts');
const program = `
  const { prompt } = await import(process.argv[1]);
  const out = (text) => process.stdout.write(text);
  const postern = async (...args) => ({ stdout: JSON.stringify(args) + '\\n', stderr: '' });
  const lab = { gateway: { postern }, network: { gateway: { name: 'none' } } };
  await prompt(lab, { out, again: async () => {}, interrupt: () => {}, signal: new AbortController().signal });
`;

function typed(...lines: string[]): string {
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '--eval', program, PROMPT], {
    input: lines.map((line) => `${line}\n`).join(''),
    encoding: 'utf8',
    timeout: 120_000,
  });
  assert.equal(status, 0, stderr);
  return stdout;
}

test('each command from a pipe stands before its own answer, and quotes are a shell’s', () => {
  assert.equal(
    typed('lock 198.51.100.10 --reason "my ticket" --for 1h', '', "log --sender '<>'", 'log "', 'quit', 'log'),
    'lab> lock 198.51.100.10 --reason "my ticket" --for 1h\n' +
      '["lock","198.51.100.10","--reason","my ticket","--for","1h"]\n' +
      'lab> log --sender \'<>\'\n["log","--sender","<>"]\n' +
      'lab> log "\nThere is no second " in: log "\nlab> quit\n',
  );
});

test('a lock without a reason gets one, and a given one stays', () => {
  const said = typed('lock 198.51.100.10', 'lock 198.51.100.10 --reason=mine');
  assert.match(said, /\["lock","198\.51\.100\.10","--reason","from the lab's prompt"\]/);
  assert.match(said, /\["lock","198\.51\.100\.10","--reason=mine"\]/);
});

test('what is not there is answered with what is', () => {
  assert.match(
    typed('mail 10.1.1.1'),
    /No host inside is "10\.1\.1\.1".* customer, .*stranger.*\n  198\.51\.100\.10\n  2001:db8:1::10\n/,
  );
  assert.match(typed('kill foo'), /no role "foo": worker, keeper, guard\./);
  assert.match(typed('kill guard'), /No process "postern: guard" runs/);
});

test('a directory to keep things in is empty or new', () => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-keep-'));
  after(() => rmSync(directory, { recursive: true }));
  assert.equal(keepProblem(directory), undefined);
  assert.equal(keepProblem(join(directory, 'new')), undefined);
  writeFileSync(join(directory, 'file'), '');
  assert.match(keepProblem(directory) ?? '', /is not empty/);
  assert.match(keepProblem(join(directory, 'file')) ?? '', /is no directory/);
});
