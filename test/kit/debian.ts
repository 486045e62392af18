/**
 * Debian packages for tests, unpacked side by side and never installed: mail servers conflict with each other, and
 * the machine's own must stay as it is.
 *
 * apt resolves and fetches with a state of its own below .cache/chroot, from the mirrors this machine is configured
 * with; `dpkg-deb` unpacks. No maintainer script runs, so users, spools and configuration are made by whoever uses the
 * directory. The directory is shared by all runs: mount it below an overlay and never write to it.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const cacheDir = join(import.meta.dirname, '../../.cache/chroot');

const UPDATE_TIMEOUT_MS = 120_000;
const RESOLVE_TIMEOUT_MS = 300_000;
const DOWNLOAD_TIMEOUT_MS = 300_000;
const UNPACK_TIMEOUT_MS = 300_000;
/** Another run may be at its own first download. */
const LOCK_TIMEOUT_MS = 600_000;
/** After this the mirror is asked again for newer versions. */
const RESOLVED_FOR_MS = 7 * 86_400_000;

const UPDATED_FOR_MS = 86_400_000;
/** No run is longer. */
const UNUSED_MS = 86_400_000;

/** What nobody runs. It halves what is unpacked. */
const LEFT_OUT = ['doc', 'man', 'info', 'locale', 'zoneinfo', 'lintian', 'bug', 'i18n'].map((d) => `./usr/share/${d}`);

type Package = { readonly name: string; readonly version: string; readonly arch: string };
type Resolved = { readonly wanted: string; readonly at: number; readonly packages: readonly Package[] };

/**
 * A root directory with these packages and all they depend on. `name` stands in the path and in progress text.
 * Quick when it is there already; otherwise it needs the mirror, and says on standard error what it does.
 * Throws when the mirror cannot be reached and no earlier directory exists.
 */
export async function chrootOf(name: string, packages: readonly string[]): Promise<string> {
  await mkdir(join(cacheDir, 'archives/partial'), { recursive: true });
  await mkdir(join(cacheDir, 'lists/partial'), { recursive: true });
  // What is there already waits for nobody who fetches something else.
  const there = await unpackedOf(name, packages);
  if (there !== undefined) return there;
  await using _lock = await lock(join(cacheDir, 'lock'));
  const { packages: closure } = await resolved(name, packages);
  const root = rootOf(name, closure);
  if (!(await exists(root))) {
    say(`fetching ${name}: ${closure.length} Debian packages`);
    // What was resolved is fetched, nothing newer: the directory's name says what is in it.
    const exact = closure.map((part) => `${part.name}=${part.version}`);
    try {
      await apt(['install', '--download-only', '--yes', ...exact], DOWNLOAD_TIMEOUT_MS);
    } catch (error) {
      // A mirror forgets old versions: the next run asks for the present ones.
      await rm(join(cacheDir, 'updated'), { force: true });
      await rm(resolvedPath(name), { force: true });
      throw new Error(`cannot fetch the Debian packages of ${name}; try again`, { cause: error });
    }
    say(`unpacking ${name}`);
    const fresh = `${root}.new`;
    await rm(fresh, { recursive: true, force: true });
    await makeTree(fresh);
    for (const part of closure) await unpack(part, fresh);
    await rename(fresh, root);
  }
  // A directory's time is that of its last use; unpacking has given it one of the packages'.
  await utimes(root, new Date(), new Date());
  await removeUnused(name);
  return root;
}

function rootOf(name: string, closure: Resolved['packages']): string {
  const key = createHash('sha256').update(JSON.stringify(closure)).digest('hex').slice(0, 16);
  return join(cacheDir, `${name}-${key}`);
}

/** The directory, if it is there and was asked for recently; its name says that it is whole. */
async function unpackedOf(name: string, packages: readonly string[]): Promise<string | undefined> {
  const last = await lastResolved(name, packages);
  if (last === undefined || Date.now() - last.at >= RESOLVED_FOR_MS) return undefined;
  const root = rootOf(name, last.packages);
  return utimes(root, new Date(), new Date()).then(
    () => root,
    () => undefined,
  );
}

/** The last answer for just these packages on this system. */
async function lastResolved(name: string, packages: readonly string[]): Promise<Resolved | undefined> {
  const wanted = `${packages.join(' ')} on ${await suite()}`;
  // Another run may be writing it just then.
  const last = await readFile(resolvedPath(name), 'utf8')
    .then((text) => JSON.parse(text) as Resolved)
    .catch(() => undefined);
  return last?.wanted === wanted ? last : undefined;
}

/** The whole closure with its versions, from the last answer while it is recent, else from the mirror. */
async function resolved(name: string, packages: readonly string[]): Promise<Resolved> {
  const path = resolvedPath(name);
  const wanted = `${packages.join(' ')} on ${await suite()}`;
  const usable = await lastResolved(name, packages);
  if (usable && Date.now() - usable.at < RESOLVED_FOR_MS) return usable;
  try {
    if (Date.now() - (await changedAt(join(cacheDir, 'updated'))) > UPDATED_FOR_MS) {
      say("asking Debian's mirror for its list of packages");
      // One foreign source that is down must not matter: what counts is whether the packages resolve.
      await apt(['update'], UPDATE_TIMEOUT_MS).catch((error: Error) => say(error.message));
      await writeFile(join(cacheDir, 'updated'), '');
    }
    const { stdout } = await apt(['install', '--simulate', ...packages], RESOLVE_TIMEOUT_MS);
    const found = [...stdout.matchAll(/^Inst (\S+) \((\S+) .*\[(\w+)\]\)/gm)];
    const closure = found.map(([, n, version, arch]) => ({ name: n ?? '', version: version ?? '', arch: arch ?? '' }));
    if (closure.length === 0) throw new Error(`apt resolved nothing for ${wanted}`);
    closure.sort((a, b) => (a.name < b.name ? -1 : 1));
    const now: Resolved = { wanted, at: Date.now(), packages: closure };
    await writeFile(path, JSON.stringify(now, null, 1));
    return now;
  } catch (error) {
    await rm(join(cacheDir, 'updated'), { force: true });
    if (!usable) throw error;
    say(`the mirror did not answer; taking ${name} as it was resolved before`);
    return usable;
  }
}

/** Runs apt-get with its whole state in the cache, as if nothing were installed, and without the machine's hooks. */
async function apt(args: readonly string[], timeoutMs: number): Promise<{ stdout: string }> {
  const settings = join(cacheDir, 'apt.conf');
  await writeFile(join(cacheDir, 'status'), '');
  await writeFile(
    settings,
    `#clear APT::Update::Pre-Invoke; #clear APT::Update::Post-Invoke; #clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke; #clear DPkg::Post-Invoke; #clear DPkg::Pre-Install-Pkgs;
Dir::State "${cacheDir}";
Dir::State::status "${cacheDir}/status";
Dir::State::lists "${cacheDir}/lists";
Dir::Cache "${cacheDir}";
Dir::Cache::archives "${cacheDir}/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Log "${cacheDir}";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
`,
  );
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  return run('apt-get', ['-q', '-c', settings, ...args], { timeout: timeoutMs, maxBuffer: 16 * 1024 ** 2, env });
}

/** Debian 12 ships some packages with /bin and some with /usr/bin; one directory serves both. */
async function makeTree(root: string): Promise<void> {
  for (const dir of ['usr/bin', 'usr/sbin', 'usr/lib', 'usr/lib64', 'proc', 'dev', 'run', 'tmp', 'root', 'etc'])
    await mkdir(join(root, dir), { recursive: true });
  for (const dir of ['bin', 'sbin', 'lib', 'lib64']) await run('ln', ['-s', `usr/${dir}`, join(root, dir)]);
  await run('chmod', ['1777', join(root, 'tmp')]);
}

async function unpack(part: Package, root: string): Promise<void> {
  const file = `${part.name}_${part.version.replaceAll(':', '%3a')}_${part.arch}.deb`;
  const script = 'dpkg-deb --fsys-tarfile "$0" | tar -x -p -C "$1" --keep-directory-symlink --no-wildcards';
  const excludes = LEFT_OUT.map((dir) => `--exclude=${dir}`).join(' ');
  await run('sh', ['-c', `${script} ${excludes}`, join(cacheDir, 'archives', file), root], {
    timeout: UNPACK_TIMEOUT_MS,
  });
}

/** Held by a child that ends when its input does, so a run that is killed lets go of it. */
async function lock(path: string): Promise<AsyncDisposable> {
  const seconds = String(LOCK_TIMEOUT_MS / 1000);
  const holder: ChildProcess = spawn('flock', ['-w', seconds, path, 'sh', '-c', 'echo held; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((resolve) => holder.once('close', () => resolve()));
  const held = new Promise<void>((resolve) => holder.stdout?.once('data', () => resolve()));
  await Promise.race([
    held,
    ended.then(() => {
      throw new Error(`${path}: still locked by another run after ${seconds} s`);
    }),
  ]);
  return {
    async [Symbol.asyncDispose]() {
      holder.stdin?.end();
      await ended;
    },
  };
}

/** Directories of the same name with other versions, unless another run may be in them. */
async function removeUnused(name: string): Promise<void> {
  const before = Date.now() - UNUSED_MS;
  for (const entry of await readdir(cacheDir)) {
    const path = join(cacheDir, entry);
    if (entry.replace(/-[0-9a-f]{16}$/, '') === name && (await changedAt(path)) < before)
      await rm(path, { recursive: true, force: true });
  }
}

function resolvedPath(name: string): string {
  return join(cacheDir, `${name}.resolved.json`);
}

async function suite(): Promise<string> {
  const release = await readFile('/etc/os-release', 'utf8');
  const { stdout } = await run('dpkg', ['--print-architecture'], { timeout: 120_000 });
  return `${/^VERSION_CODENAME=(\S+)/m.exec(release)?.[1] ?? 'unknown'} ${stdout.trim()}`;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function changedAt(path: string): Promise<number> {
  return stat(path).then(
    (found) => found.mtimeMs,
    () => 0,
  );
}

function say(text: string): void {
  process.stderr.write(`chroot: ${text}\n`);
}
