/** Haraka with queue/smtp_proxy, two processes. From npm, into .cache/bench: no dependency of the project. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { temporaryDirectory } from '../leftovers.ts';
import { cacheDir } from '../programs.ts';
import { LISTEN, SMARTHOST } from '../stage.ts';
import { type PeerKind, untilServes } from './peer.ts';

const VERSION = '3.3.4';
const INSTALL_MS = 300_000;

const [, host, port] = /^(.*):(\d+)$/.exec(SMARTHOST.v4) ?? [];
/** Over what it comes with. */
const FILES: Readonly<Record<string, string>> = {
  'config/smtp.ini': `listen=${LISTEN.v4},${LISTEN.v6}\nnodes=2\n`,
  'config/plugins': 'take_all\nqueue/smtp_proxy\n',
  // Only what some plugin takes is asked for at the smarthost.
  'plugins/take_all.js': 'exports.hook_rcpt = (next) => next(OK);\n',
  'config/smtp_proxy.ini': `host=${host}\nport=${port}\nenable_outbound=false\n`,
  'config/log.ini': '[main]\nlevel=warn\nformat=default\n',
  'config/me': 'gw1.example.net\n',
  'package.json': '{}\n',
};

export const haraka: PeerKind = {
  name: 'haraka',
  about: 'Haraka with queue/smtp_proxy, 2 processes',
  async start({ network }) {
    const installed = install();
    const { path: directory, remove } = temporaryDirectory(join(tmpdir(), 'postern-bench-haraka-'));
    cpSync(join(installed, 'config'), join(directory, 'config'), { recursive: true });
    mkdirSync(join(directory, 'plugins'));
    for (const [name, text] of Object.entries(FILES)) writeFileSync(join(directory, name), text);
    const child = network.gateway.spawn(process.execPath, [join(installed, 'bin/haraka'), '-c', directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.stdout?.resume();
    const close = (): Promise<void> => {
      child.kill('SIGKILL');
      remove();
      return Promise.resolve();
    };
    try {
      await untilServes(network.inside, LISTEN.v4);
    } catch (error) {
      await close();
      throw error;
    }
    const { version } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { version: string };
    return { version, target: LISTEN, close };
  },
};

function install(): string {
  const directory = join(cacheDir, 'haraka');
  const installed = join(directory, 'node_modules/Haraka');
  if (existsSync(installed)) return installed;
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'package.json'), '{ "private": true }\n');
  const flags = ['--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund', '--loglevel=error'];
  execFileSync('npm', ['install', ...flags, `Haraka@${VERSION}`], {
    cwd: directory,
    stdio: ['ignore', 2, 2],
    timeout: INSTALL_MS,
  });
  return installed;
}
