/**
 * HAProxy in TCP mode, 2 threads: one upstream connection per client connection, no idea of SMTP. As anybody would set it up, it is
 * the reference; behind TPROXY, with the fewest rules that do, it shows what interception alone costs.
 */
import { chrootOf } from '../../test/kit/debian.ts';
import { openBox } from '../../test/interop/box.ts';
import { CALLED, LISTEN, must, SMARTHOST, type Stage } from '../stage.ts';
import { type Peer, type PeerKind, untilServes } from './peer.ts';

type Where = {
  readonly target: Peer['target'];
  readonly bind: readonly string[];
  /** the server and how it is called; default the smarthost, from an address of its own */
  readonly server?: string;
};

function config({ bind, server = SMARTHOST.v4 }: Where): string {
  return `global
  maxconn 9000
  nbthread 2
defaults
  mode tcp
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  backlog 4096
listen smtp
${bind.map((line) => `  bind ${line}`).join('\n')}
  server sink ${server}
`;
}

async function start({ network }: Stage, where: Where): Promise<Peer> {
  const { target } = where;
  const box = await openBox(await chrootOf('haproxy', ['haproxy', 'dash', 'coreutils']), network.gateway);
  await box.write({ '/etc/haproxy/bench.cfg': config(where) });
  const { stdout } = await box.run(['haproxy', '-v']);
  const child = box.spawn(['sh', '-c', 'ulimit -n 20000; exec haproxy -db -f /etc/haproxy/bench.cfg']);
  child.stderr?.pipe(process.stderr);
  await untilServes(network.inside, target.v4);
  return { version: /version (\S+)/.exec(stdout)?.[1] ?? '', target, close: box.close };
}

export const haproxy: PeerKind = {
  name: 'haproxy',
  about: 'HAProxy, mode tcp, 2 threads: understands no SMTP',
  start: (stage) => start(stage, { target: LISTEN, bind: [LISTEN.v4, LISTEN.v6.replaceAll(/[[\]]/g, '')] }),
};

export const haproxyTproxy: PeerKind = {
  name: 'haproxy-tproxy',
  about: 'the same HAProxy behind TPROXY',
  async start(stage) {
    await interceptAll(stage);
    return start(stage, { target: CALLED, bind: TRANSPARENT });
  },
};

const TRANSPARENT = ['0.0.0.0:2525 transparent', ':::2525 transparent v6only'];

async function interceptAll({ network }: Stage): Promise<void> {
  for (const [family, any] of [
    ['', '0.0.0.0'],
    ['6', '::'],
  ] as const) {
    const mangle = `ip${family}tables -t mangle -A PREROUTING -p tcp`;
    await must(network.gateway, [
      `${mangle} -m multiport --ports 25 ! --syn -m socket --transparent -j MARK --set-mark 1`,
      `${mangle} -i lan0 --dport 25 -m mark ! --mark 1 -j TPROXY --on-port 2525 --on-ip ${any} --tproxy-mark 1`,
      `ip -${family || 4} rule add fwmark 1 lookup 100`,
      `ip -${family || 4} route add local default dev lo table 100`,
    ]);
  }
}

/** To the server that the host has called, from the host's own address. Under the reference's name in a run of its own. */
export const haproxyKept: PeerKind = {
  name: 'haproxy',
  about: 'HAProxy, mode tcp, transparent, with the source address kept',
  async start(stage) {
    await interceptAll(stage);
    return start(stage, {
      target: CALLED,
      bind: TRANSPARENT,
      server: `${CALLED.v4} source 0.0.0.0 usesrc clientip`,
    });
  },
};
