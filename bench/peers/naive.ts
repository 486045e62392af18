/** What anybody would write first: smtp-server in front, nodemailer behind, two processes. */
import { LISTEN, SMARTHOST } from '../stage.ts';
import { type PeerKind, untilServes } from './peer.ts';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const naive: PeerKind = {
  name: 'naive',
  about: 'smtp-server and nodemailer, pooled, 2 processes',
  rejectsItself: true,
  async start({ network }) {
    const main = join(import.meta.dirname, 'naive-main.ts');
    const child = network.gateway.spawn(process.execPath, [main, LISTEN.v4, SMARTHOST.v4], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    await untilServes(network.inside, LISTEN.v4);
    return {
      version: ['smtp-server', 'nodemailer'].map((name) => `${name} ${versionOf(name)}`).join(' and '),
      target: LISTEN,
      close: () => Promise.resolve(void child.kill('SIGTERM')),
    };
  },
};

function versionOf(name: string): string {
  const path = join(import.meta.dirname, '../../node_modules', name, 'package.json');
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}
