/** HAProxy in TCP mode, 2 threads: one upstream connection per client connection, no idea of SMTP. */
import { chrootOf } from '../../test/kit/debian.ts';
import { openBox } from '../../test/interop/box.ts';
import { LISTEN, SMARTHOST } from '../stage.ts';
import { type PeerKind, untilServes } from './peer.ts';

const CONFIG = `global
  maxconn 9000
  nbthread 2
defaults
  mode tcp
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  backlog 4096
listen smtp
  bind ${LISTEN.v4}
  bind ${LISTEN.v6.replaceAll(/[[\]]/g, '')}
  server sink ${SMARTHOST.v4}
`;

export const haproxy: PeerKind = {
  name: 'haproxy',
  about: 'HAProxy, mode tcp, 2 threads: understands no SMTP',
  async start({ network }) {
    const box = await openBox(await chrootOf('haproxy', ['haproxy', 'dash', 'coreutils']), network.gateway);
    await box.write({ '/etc/haproxy/bench.cfg': CONFIG });
    const { stdout } = await box.run(['haproxy', '-v']);
    const child = box.spawn(['sh', '-c', 'ulimit -n 20000; exec haproxy -db -f /etc/haproxy/bench.cfg']);
    child.stderr?.pipe(process.stderr);
    await untilServes(network.inside, LISTEN.v4);
    return { version: /version (\S+)/.exec(stdout)?.[1] ?? '', target: LISTEN, close: box.close };
  },
};
