/** What may not stand in the repository, whoever puts it there. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const top = join(import.meta.dirname, '../../..');

/** Each pattern is written so that it does not match its own line here. */
const FORBIDDEN: readonly (readonly [what: string, pattern: RegExp])[] = [
  ['a private key', /-----BEGIN [A-Z ]*PRIVATE KEY-{5}/],
  [
    'the host of a package registry',
    /\b(?:registry|npm|pypi|proxy|artifacts?)\.[\w.-]+\.(?:org|com|io|net|dev)\b|"resolved"{1}:/,
  ],
  ['a home directory', /(?<![\w.])\/(?:home|Users)\/(?!\*)[\w.-]+|(?<![\w./$])\/root\//],
  ['a credential in a URL', /\b[a-z]+:\/\/[^\s/:@'"`]+:[^\s/@'"`]+@/],
];

function tracked(): string[] {
  return execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: top,
    encoding: 'utf8',
  })
    .split('\0')
    .filter((path) => path !== '' && existsSync(join(top, path)));
}

function faults(path: string, text: string): string[] {
  return text
    .split('\n')
    .flatMap((line, at) =>
      FORBIDDEN.filter(([, pattern]) => pattern.test(line)).map(([what]) => `${path}:${at + 1}: ${what}`),
    );
}

const isCheckout = spawnSync('git', ['rev-parse'], { cwd: top }).status === 0;

test('no tracked file holds a key, a registry, a home directory or a credential', {
  skip: !isCheckout && 'no git, or not a checkout',
}, () => {
  const paths = tracked();
  assert.ok(paths.length > 50);
  assert.deepEqual(
    paths.flatMap((path) => faults(path, readFileSync(join(top, path), 'utf8'))),
    [],
  );
});

test('each of these is found when it is there', () => {
  // The wave keeps this file itself free of them.
  for (const [line, what] of [
    ['-----BEGIN PRIVATE ~KEY-----', 'a private key'],
    ['-----BEGIN EC PRIVATE ~KEY-----', 'a private key'],
    ['"resolv~ed": "x"', 'the host of a package registry'],
    ['https://registry.npm~js.org/koffi', 'the host of a package registry'],
    ['see /ho~me/alice/x', 'a home directory'],
    ['see /ro~ot/x', 'a home directory'],
    ['http:~//me:secret@example.net/', 'a credential in a URL'],
  ] as const)
    assert.deepEqual(faults('x', line.replace('~', '')), [`x:1: ${what}`], line);
});

type Locked = {
  readonly version?: string;
  readonly integrity?: string;
  readonly os?: readonly string[] | string;
  readonly cpu?: readonly string[] | string;
  readonly libc?: readonly string[];
  readonly optionalDependencies?: Readonly<Record<string, string>>;
};

/** Linux on x64 or arm64 with glibc: what Postern runs on. */
const isOurs = ({ os = 'linux', cpu = ['x64', 'arm64'], libc = ['glibc'] }: Locked): boolean =>
  os.includes('linux') && ['x64', 'arm64'].some((one) => cpu.includes(one)) && libc.includes('glibc');

test('the lock file pins every package, and those of other machines as well, without which npm ci refuses it', () => {
  const { packages } = JSON.parse(readFileSync(join(top, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Locked>;
  };
  for (const [path, entry] of Object.entries(packages)) {
    assert.ok(path === '' || entry.version, path);
    assert.ok(path === '' || entry.integrity || !isOurs(entry), `${path}: a checksum`);
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {}))
      assert.equal(packages[`node_modules/${name}`]?.version, version, `${path} may need ${name}`);
  }
  const manifest = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8')) as Record<
    string,
    Record<string, string>
  >;
  for (const group of ['dependencies', 'devDependencies', 'optionalDependencies'])
    for (const [name, version] of Object.entries(manifest[group] ?? {}))
      assert.match(version, /^(npm:@?[\w/-]+@)?\d+\.\d+\.\d+$/, name);
  assert.match(readFileSync(join(top, '.gitignore'), 'utf8'), /^node_modules\/$/m);
});

test('docs/dependencies.md names every package of package.json with its version', () => {
  const page = readFileSync(join(top, 'docs/dependencies.md'), 'utf8');
  const manifest = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8')) as Record<
    string,
    Record<string, string>
  >;
  const rows = new Map([...page.matchAll(/^\| `([^`]+)` \| ([\d.]+) \|/gm)].map((match) => [match[1], match[2]]));
  const wanted = new Map(
    ['dependencies', 'optionalDependencies', 'devDependencies'].flatMap((group) =>
      Object.entries(manifest[group] ?? {}).map(([name, version]) => [name, version.replace(/^.*@/, '')]),
    ),
  );
  assert.deepEqual(Object.fromEntries(rows), Object.fromEntries(wanted));
});
