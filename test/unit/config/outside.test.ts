/** The questions to the system: real files in a temporary directory, look-ups that the test answers. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileState, resolveName, system } from '../../../src/config/outside.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-outside-'));
after(() => rmSync(directory, { recursive: true }));

const never = (): Promise<never> => new Promise(() => {});
const found =
  (...addresses: string[]) =>
  async () =>
    addresses;
const fails = (code: string) => (): Promise<never> => Promise.reject(Object.assign(new Error(code), { code }));

test("the system's word counts, and nobody else is asked when it comes at once", async () => {
  const servers = (): never => assert.fail('the name servers were asked');
  assert.deepEqual(await resolveName('a.example', 3000, { system: found('192.0.2.1'), servers }), ['192.0.2.1']);
  const reject = (code: string) => resolveName('a.example', 3000, { system: fails(code), servers });
  await assert.rejects(reject('ENOTFOUND'), { message: 'there is no such name' });
  await assert.rejects(reject('EAI_AGAIN'), { message: 'no name server answers' });
  await assert.rejects(reject('EOTHER'), { message: 'EOTHER' });
});

test('when the system is silent, an answer of the name servers counts', async () => {
  const addresses = await resolveName('a.example', 60, { system: never, servers: found('2001:db8::1') });
  assert.deepEqual(addresses, ['2001:db8::1']);
});

test('no answer is an answer when the deadline has passed', async () => {
  const late = { message: 'no answer within 0.03 s' };
  await assert.rejects(resolveName('a.example', 30, { system: never, servers: never }), late);
  await assert.rejects(resolveName('a.example', 30, { system: never, servers: fails('ENOTFOUND') }), late);
});

test('a name of the hosts file resolves', async () => {
  const addresses = await resolveName('localhost');
  assert.ok(addresses.includes('127.0.0.1') || addresses.includes('::1'), addresses.join());
});

test('the loopback addresses are among those of this machine', () => {
  assert.ok(system.localAddresses().includes('127.0.0.1'));
});

test('a file: its permissions, its size, and whether a mark is in it', async () => {
  const file = join(directory, 'x.pem');
  writeFileSync(file, '# mine\n-----BEGIN CERTIFICATE-----\n');
  chmodSync(file, 0o640);
  assert.deepEqual(await fileState(file, 'BEGIN CERTIFICATE'), {
    readable: true,
    mode: 0o640,
    sizeBytes: 35,
    hasMark: true,
  });
  assert.deepEqual(await fileState(file, 'BEGIN KEY'), { readable: true, mode: 0o640, sizeBytes: 35, hasMark: false });
  assert.deepEqual(await fileState(file), { readable: true, mode: 0o640, sizeBytes: 35, hasMark: false });
});

test('a file that is not there or is none', async () => {
  assert.deepEqual(await fileState(join(directory, 'absent')), { readable: false, reason: 'there is no such file' });
  assert.deepEqual(await fileState(directory), { readable: false, reason: 'it is no regular file' });
  assert.deepEqual(await fileState(join(directory, 'x.pem', 'y')), {
    readable: false,
    reason: 'a part of its path is no directory',
  });
});

test('a file without permission', { skip: process.getuid?.() === 0 && 'root may read every file' }, async () => {
  const file = join(directory, 'closed');
  writeFileSync(file, 'x', { mode: 0o000 });
  assert.deepEqual(await fileState(file), { readable: false, reason: 'permission denied' });
});
