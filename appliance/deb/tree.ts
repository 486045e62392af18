/** The tree that dpkg-deb packs: an installation as systemd/install.ts lays it out, and what Debian wants beside it. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, globSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { install, productionPackages } from '../../systemd/install.ts';
import { bashCompletion } from './completion.ts';
import { commandPage, configPage } from './man.ts';
import { billOfMaterials, copyright, partsOf } from './sbom.ts';

const top = join(import.meta.dirname, '../..');
const CONFFILE = 'etc/postern/postern.toml';

export type Package = { readonly version: string; readonly architecture: string; readonly epochS: number };

/** What is in npm packages and never run here: programs of other machines, types. */
const LEFT_OUT = ['**/*.d.ts', '**/*.d.mts', '**/*.d.cts', '**/*.map', '**/musl_*', '**/.*'];

/** Programs; nothing else may be started by its name. */
const PROGRAMS = new Set([
  'usr/bin/postern',
  'usr/lib/postern/node',
  'usr/lib/postern/keep-config',
  'usr/lib/systemd/system-generators/postern-generator',
  'DEBIAN/postinst',
  'DEBIAN/prerm',
  'DEBIAN/postrm',
]);

/** Fills `root`, and returns the bill of materials that is in it. */
export async function layOut(root: string, { version, architecture, epochS }: Package): Promise<string> {
  const write = (path: string, text: string | Uint8Array): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const own = (name: string): string => readFileSync(join(import.meta.dirname, name), 'utf8');
  const packed = (text: string): Uint8Array => gzipSync(text, { level: 9 });

  const node = `node-linux-${process.arch}`;
  const stripped = join(root, 'node');
  mkdirSync(root, { recursive: true });
  execFileSync('strip', ['--strip-unneeded', '-o', stripped, join(top, 'node_modules', node, 'bin/node')]);
  install(root, stripped);
  rmSync(stripped);
  const modules = join(root, 'usr/lib/postern/node_modules');
  for (const path of globSync(LEFT_OUT, { cwd: modules }))
    rmSync(join(modules, path), { recursive: true, force: true });

  const edition = { version, date: new Date(epochS * 1000).toISOString().slice(0, 10) };
  write('usr/share/man/man1/postern.1.gz', packed(await commandPage(edition)));
  write('usr/share/man/man5/postern.toml.5.gz', packed(configPage(edition)));
  write('usr/share/bash-completion/completions/postern', await bashCompletion());

  const parts = partsOf(top, [...productionPackages(), `node_modules/${node}`]);
  const bill = billOfMaterials(parts, version, epochS);
  const doc = 'usr/share/doc/postern';
  write(`${doc}/sbom.cdx.json`, bill);
  write(`${doc}/copyright`, copyright(parts));
  write(`${doc}/changelog.gz`, packed(changelog(version, epochS)));
  for (const page of globSync('docs/*.md', { cwd: top })) {
    // Debian's rule: what a person reads is not packed only when it is short; ours are read with a pager or a browser.
    copyFileSync(join(top, page), join(root, doc, basename(page)));
  }
  copyFileSync(join(top, 'node_modules', node, 'LICENSE'), join(root, doc, 'node-LICENSE'));
  write('usr/share/lintian/overrides/postern', own('lintian-overrides'));
  write(CONFFILE, own('postern.toml'));

  for (const script of ['postinst', 'prerm', 'postrm']) write(`DEBIAN/${script}`, own(script));
  write('DEBIAN/conffiles', `/${CONFFILE}\n`);
  const files = list(root).filter((path) => !path.startsWith('DEBIAN'));
  const sizes = files.map((path) => lstatSync(join(root, path)).size);
  write('DEBIAN/control', control(version, architecture, sizes));
  const sums = files.filter((path) => path !== CONFFILE).map((path) => `${md5(join(root, path))}  ${path}\n`);
  write('DEBIAN/md5sums', sums.join(''));
  normalise(root);
  return bill;
}

/** Files in order, without directories. */
function list(root: string): string[] {
  return globSync('**/*', { cwd: root, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}

/** dpkg-deb sets the owners, and takes back each time that is later than SOURCE_DATE_EPOCH; all of ours are. */
function normalise(root: string): void {
  chmodSync(root, 0o755);
  for (const entry of globSync('**/*', { cwd: root, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const isProgram = PROGRAMS.has(path.slice(root.length + 1));
    chmodSync(path, entry.isDirectory() || isProgram ? 0o755 : 0o644);
  }
}

function md5(path: string): string {
  return createHash('md5').update(readFileSync(path)).digest('hex');
}

function control(version: string, architecture: string, sizes: readonly number[]): string {
  // Whole kibibytes for each file, as dpkg-gencontrol counts.
  const installedKib = sizes.reduce((sum, size) => sum + Math.ceil(size / 1024), 0);
  return `Package: postern
Version: ${version}
Architecture: ${architecture}
Maintainer: Postern <postern@postern.invalid>
Installed-Size: ${installedKib}
Depends: libc6 (>= 2.36), libgcc-s1, libstdc++6 (>= 12), libatomic1, systemd (>= 252), systemd-sysv, iproute2, iptables, ipset, procps
Recommends: ca-certificates, bash-completion
Section: mail
Priority: optional
Description: transparent gateway for outgoing mail
 Hosts of a network open connections to port 25 of the whole internet. Postern
 is a router in their path that takes each of them, finds out who is sending,
 holds him to his limits, looks at the message, and relays what is clean, while
 the host knows nothing of it. There is no queue: what a host is told is what
 the far side has said.
 .
 Until it is configured, nobody is forwarded to port 25, and everything else is.
`;
}

function changelog(version: string, epochS: number): string {
  const date = new Date(epochS * 1000).toUTCString().replace('GMT', '+0000');
  return `postern (${version}) unstable; urgency=medium\n\n  * Built from the commit of this time.\n\n -- Postern <postern@postern.invalid>  ${date}\n`;
}
