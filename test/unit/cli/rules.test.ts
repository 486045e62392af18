import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { command } from '../../../src/cli/rules.ts';

const run = promisify(execFile);
const MAIN = join(import.meta.dirname, '../../../src/main.ts');
const ONE_NETWORK = join(import.meta.dirname, '../../../iptables/golden/one-network.toml');
const directory = mkdtempSync(join(tmpdir(), 'postern-rules-'));
after(() => rmSync(directory, { recursive: true }));

async function rules(...args: readonly string[]): Promise<{ status: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const io = {
    out: (text: string) => void (out += text),
    err: (text: string) => void (err += text),
    isTerminal: false,
  };
  return { status: await command.run(args, io), out, err };
}

test('prints every part under the command that takes it', async () => {
  const { status, out } = await rules('--config', ONE_NETWORK);
  assert.equal(status, 0);
  assert.deepEqual(
    [...out.matchAll(/^### (.*)$/gm)].map(([, title]) => title),
    [
      'sysctl',
      'ip -4 -batch -',
      'ip -6 -batch -',
      'ipset restore',
      'iptables-restore --noflush',
      'ip6tables-restore --noflush',
      'sysctl',
    ],
  );
});

test('a configuration that is not good is refused with what is wrong', async () => {
  const path = join(directory, 'bad.toml');
  writeFileSync(path, '[gateway]\nname = 5\n');
  const { status, out, err } = await rules('--config', path);
  assert.equal(status, 1);
  assert.equal(out, '');
  assert.match(err, /bad\.toml:2: gateway\.name = 5: expected/);
});

test('comparing and removing at once is refused', async () => {
  await assert.rejects(rules('--verify', '--remove'), /--verify or --remove, not both/);
});

test('many networks come out whole, also when they are read slowly', async () => {
  const path = join(directory, 'many.toml');
  const prefixes = Array.from({ length: 5000 }, (_, i) => `"10.${i >> 8}.${i & 255}.0/24"`);
  writeFileSync(
    path,
    '[gateway]\nname = "gw1.example.net"\n[intercept]\ninside = ["lan0"]\n[smarthost]\nservers = ["192.0.2.25:587"]\n' +
      `[[network]]\nname = "many"\nprefixes = [${prefixes.join()}]\n`,
  );
  const line = '"$1" "$2" rules --config "$3" | { sleep 1; grep -c "^add postern-net-many-4"; }';
  const { stdout } = await run('sh', ['-c', line, 'sh', process.execPath, MAIN, path]);
  assert.equal(stdout.trim(), '5000');
});
