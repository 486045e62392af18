/** What the Debian package is made of; units.alone.test.ts installs, upgrades and purges it. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { buildDeb, type Built } from '../../appliance/deb.ts';
import { commands } from '../../src/cli/commands.ts';
import { schema } from '../../src/config/schema.ts';
import { sections } from '../../src/config/toml.ts';

const skip =
  spawnSync('dpkg-deb', ['--version']).error || spawnSync('strip', ['--version']).error ? 'needs Debian' : false;
const EPOCH_S = 1_793_620_800;

describe('the package', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-debs-'));
  after(() => rmSync(directory, { recursive: true }));
  const into = (name: string): string => join(directory, name);
  let built: Built;
  before(async () => {
    built = await buildDeb({ out: into('one'), quick: true, epochS: EPOCH_S });
    execFileSync('dpkg-deb', ['-R', built.path, into('tree')], { timeout: 60_000 });
  });
  const file = (path: string): Buffer => readFileSync(join(into('tree'), path));

  test('built twice it is the same, octet for octet, whatever the umask', async () => {
    const umask = process.umask(0o077);
    const again = await buildDeb({ out: into('two'), quick: true, epochS: EPOCH_S }).finally(() =>
      process.umask(umask),
    );
    assert.equal(again.version, '0.1.0+20261102120000');
    assert.equal(again.sha256, built.sha256);
  });

  test('postern(1) has all that each command says of itself, postern.toml(5) every key', async () => {
    const plain = (name: string): string =>
      gunzipSync(file(`usr/share/man/${name}.gz`))
        .toString()
        .replaceAll(/^\\&/gm, '')
        .replaceAll('\\-', '-')
        .replaceAll('\\e', '\\');
    const page = plain('man1/postern.1');
    for (const { load } of Object.values(commands)) {
      const { help } = (await load()).command;
      assert.ok(page.includes(help.trim()), help);
    }
    const keys = plain('man5/postern.toml.5');
    for (const { header, fields } of sections(schema.fields)) {
      assert.ok(keys.includes(`\n.SH "${header}"\n`), header);
      for (const [key, { doc }] of fields) assert.ok(keys.includes(`\n.B ${key}\n${doc} Value: `), key);
    }
  });

  test('bash completes commands, and the options of each', () => {
    const completion = join(into('tree'), 'usr/share/bash-completion/completions/postern');
    const complete = (...words: string[]): string[] => {
      const script =
        'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _postern; printf "%s\\n" "${COMPREPLY[@]}"';
      const ran = spawnSync('bash', ['-c', script, completion, 'postern', ...words], { encoding: 'utf8' });
      assert.equal(ran.stderr, '');
      return ran.stdout.split('\n').filter(Boolean);
    };
    assert.deepEqual(complete('sta'), ['status']);
    assert.deepEqual(complete('rules', '--'), ['--config', '--remove', '--verify', '--help']);
    assert.deepEqual(complete('guard', '--r'), ['--rules-only'], 'not --remove, of which it speaks');
    assert.deepEqual(complete('check', '--config', ''), [], 'a file, which bash completes itself');
    assert.ok(complete('').length > Object.keys(commands).length);
  });

  test('the bill of materials names what is inside, with its checksum and licence, and nothing else', () => {
    const bill = JSON.parse(file('usr/share/doc/postern/sbom.cdx.json').toString()) as {
      components: { name: string; version: string; purl: string; hashes: { content: string }[]; licenses: unknown[] }[];
    };
    const listed = bill.components.map(({ name, version }) => `${name} ${version}`);
    const found = execFileSync('find', [join(into('tree'), 'usr/lib/postern/node_modules'), '-name', 'package.json'], {
      encoding: 'utf8',
    })
      .split('\n')
      .filter((path) => /node_modules\/(?:@[^/]+\/)?[^/]+\/package\.json$/.test(path))
      .map((path) => JSON.parse(readFileSync(path, 'utf8')) as { name: string; version: string })
      .map(({ name, version }) => `${name} ${version}`);
    const node = listed.filter((name) => name.startsWith('node-linux-'));
    assert.equal(node.length, 1);
    assert.deepEqual(listed.toSorted(), [...found, ...node].toSorted());
    for (const { hashes, licenses } of bill.components) {
      assert.match(hashes[0]?.content ?? '', /^[0-9a-f]{128}$/);
      assert.equal(licenses.length, 1);
    }
    assert.ok(bill.components.some(({ purl }) => purl === 'pkg:npm/%40prometheus-io/client@0.16.1'));
  });

  test('nothing of the tools that it is made with is in it, and the scripts are ones that sh takes', () => {
    const names = execFileSync('dpkg-deb', ['-c', built.path], { encoding: 'utf8' });
    assert.doesNotMatch(names, /typescript|oxlint|biome|fast-check|playwright|@types|musl|\.d\.ts/);
    assert.match(names, /^-rwxr-xr-x root\/root .* \.\/usr\/lib\/postern\/node$/m);
    for (const script of ['postinst', 'prerm', 'postrm']) {
      execFileSync('sh', ['-n', join(into('tree'), 'DEBIAN', script)]);
    }
    assert.equal(file('DEBIAN/conffiles').toString(), '/etc/postern/postern.toml\n');
  });
});
