/**
 * Builds the Debian package of this checkout, with its own Node in it, by dpkg-deb alone:
 *
 *     node appliance/deb.ts [--out DIRECTORY] [--quick] [--check]
 *
 * The same sources give the same octets: every time in it is that of the commit (or SOURCE_DATE_EPOCH), every owner root,
 * every mode one of two, every list sorted.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { layOut } from './deb/tree.ts';

const top = join(import.meta.dirname, '..');
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
const BUILD_TIMEOUT_MS = 600_000;

const USAGE = `Usage: node appliance/deb.ts [--out DIRECTORY] [--quick] [--check]

Builds postern_VERSION_ARCHITECTURE.deb and postern_VERSION.cdx.json, the bill of materials.

  --out DIRECTORY   where to (default dist)
  --quick           compress little: a package to try, half as large again
  --check           run lintian on it, and fail on an error

Example: npm run deb && apt-get install ./dist/postern_*.deb
`;

export type Built = {
  readonly path: string;
  readonly version: string;
  readonly sizeBytes: number;
  readonly sha256: string;
};

export type DebOptions = {
  readonly out: string;
  readonly quick?: boolean;
  /** seconds since 1970; by default SOURCE_DATE_EPOCH, or the time of the commit */
  readonly epochS?: number;
};

export async function buildDeb({ out, quick = false, epochS = commitTimeS() }: DebOptions): Promise<Built> {
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) throw new Error(`a package for ${process.arch}: expected x64 or arm64`);
  const { version: release } = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8')) as { version: string };
  const at = new Date(epochS * 1000).toISOString();
  // Of two packages of one release the later commit's is the newer one.
  const version = `${release}+${at.replaceAll(/[-:T]/g, '').slice(0, 14)}`;
  const work = mkdtempSync(join(tmpdir(), 'postern-deb-'));
  try {
    const root = join(work, 'root');
    const bill = await layOut(root, { version, architecture, epochS });
    mkdirSync(out, { recursive: true });
    const path = join(out, `postern_${version}_${architecture}.deb`);
    execFileSync(
      'dpkg-deb',
      ['--root-owner-group', ...(quick ? ['-Zgzip', '-z1'] : ['-Zxz', '-z6']), '--build', root, path],
      {
        env: { ...process.env, SOURCE_DATE_EPOCH: String(epochS), LC_ALL: 'C' },
        stdio: ['ignore', 'ignore', 'inherit'],
        timeout: BUILD_TIMEOUT_MS,
      },
    );
    writeFileSync(join(out, `postern_${version}.cdx.json`), bill);
    const sha256 = createHash('sha256').update(readFileSync(path)).digest('hex');
    return { path, version, sizeBytes: statSync(path).size, sha256 };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function commitTimeS(): number {
  const given = process.env['SOURCE_DATE_EPOCH'];
  if (given !== undefined && !/^\d{1,11}$/.test(given))
    throw new Error(`SOURCE_DATE_EPOCH = ${JSON.stringify(given)}: expected seconds since 1970`);
  const { status, stdout } = spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: top, encoding: 'utf8' });
  const seconds = given ?? (status === 0 ? stdout.trim() : '');
  if (seconds === '') throw new Error('this is no checkout of git: set SOURCE_DATE_EPOCH, in seconds since 1970');
  return Number(seconds);
}

/** Its errors; warnings are printed. */
function lintian(path: string): string[] {
  const args = ['--tag-display-limit', '0', '--fail-on', 'error', path];
  const { stdout, stderr, error } = spawnSync('lintian', args, { encoding: 'utf8', timeout: BUILD_TIMEOUT_MS });
  if (error) throw new Error(`lintian: ${error.message}; sh appliance/setup.sh deb installs it`);
  process.stderr.write(stdout + stderr);
  return stdout.split('\n').filter((line) => line.startsWith('E: '));
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: 'dist' },
      quick: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) process.stdout.write(USAGE);
  else {
    const began = performance.now();
    const { path, sizeBytes, sha256 } = await buildDeb(values);
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    process.stdout.write(`${path}: ${(sizeBytes / 1e6).toFixed(1)} MB in ${seconds} s, sha256 ${sha256}\n`);
    if (values.check && lintian(path).length > 0) process.exitCode = 1;
  }
}
