/**
 * Lays out an installation below a root directory: what a package contains, and what the test of the units boots.
 *
 *     node systemd/install.ts ROOT
 *
 * The program goes to /usr/lib/postern (its own Node with it), the units to /usr/lib/systemd. Accounts and directories are
 * made on the machine itself: systemd-sysusers, systemd-tmpfiles --create.
 */
import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const top = join(import.meta.dirname, '..');

const UNITS = [
  'postern-rules.service',
  'postern-guard.service',
  'postern-keeper.service',
  'postern-worker@.socket',
  'postern-worker@.service',
  'postern-apply.path',
  'postern-apply.service',
  'postern.target',
  'postern-.service.d/10-sandbox.conf',
] as const;

const USAGE = `Usage: node systemd/install.ts ROOT

Installs Postern below the directory ROOT: / is this machine, anything else what a package is made from.
Afterwards, on the machine: systemd-sysusers && systemd-tmpfiles --create
`;

const WRAPPER = '#!/bin/sh\nexec /usr/lib/postern/node /usr/lib/postern/src/main.ts "$@"\n';

/** `nodePath` is the Node that is to run there; by default the one that runs this. */
export function install(root: string, nodePath: string = process.execPath): void {
  const lib = join(root, 'usr/lib/postern');
  put(nodePath, join(lib, 'node'), 0o755);
  cpSync(join(top, 'src'), join(lib, 'src'), { recursive: true });
  put(join(top, 'package.json'), join(lib, 'package.json'), 0o644);
  put(join(import.meta.dirname, 'keep-config'), join(lib, 'keep-config'), 0o755);
  for (const path of productionPackages()) cpSync(join(top, path), join(lib, path), { recursive: true });

  installUnits(root);
  const wrapper = join(root, 'usr/bin/postern');
  mkdirSync(dirname(wrapper), { recursive: true });
  writeFileSync(wrapper, WRAPPER);
  chmodSync(wrapper, 0o755);
}

/** What systemd reads: units, their generator, accounts, directories. */
export function installUnits(root: string): void {
  const here = import.meta.dirname;
  for (const unit of UNITS) put(join(here, unit), join(root, 'usr/lib/systemd/system', unit), 0o644);
  put(join(here, 'postern-generator'), join(root, 'usr/lib/systemd/system-generators/postern-generator'), 0o755);
  put(join(here, 'postern.sysusers'), join(root, 'usr/lib/sysusers.d/postern.conf'), 0o644);
  put(join(here, 'postern.tmpfiles'), join(root, 'usr/lib/tmpfiles.d/postern.conf'), 0o644);
  put(join(here, 'postern.sysctl'), join(root, 'usr/lib/sysctl.d/50-postern.conf'), 0o644);
}

type Locked = {
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly cpu?: string | readonly string[];
  readonly os?: string | readonly string[];
};

/** The packages that the product needs on this kind of machine, Node's own left out, which goes elsewhere. */
export function productionPackages(): string[] {
  const { packages } = JSON.parse(readFileSync(join(top, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, Locked>>;
  };
  return Object.entries(packages)
    .filter(([path, { dev, cpu, os }]) => path !== '' && !dev && fits(cpu, process.arch) && fits(os, process.platform))
    .map(([path]) => path)
    .filter((path) => !path.startsWith('node_modules/node-linux-'));
}

function fits(wanted: string | readonly string[] | undefined, is: string): boolean {
  return wanted === undefined || wanted.includes(is);
}

function put(from: string, to: string, mode: number): void {
  mkdirSync(dirname(to), { recursive: true });
  // A program that runs cannot be written over; its place can be given to another file.
  rmSync(to, { force: true });
  copyFileSync(from, to);
  chmodSync(to, mode);
}

if (import.meta.main) {
  const [root, ...more] = process.argv.slice(2);
  const wantsHelp = root === '--help' || root === '-h';
  // A directory that begins with "-" is far more likely an option that does not exist.
  if (root === undefined || root === '' || root.startsWith('-') || more.length > 0) {
    (wantsHelp ? process.stdout : process.stderr).write(USAGE);
    process.exitCode = wantsHelp ? 0 : 2;
  } else install(root);
}
