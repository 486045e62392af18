import type { Platform, Side } from './request.ts';

/** A map has one list for both families; a rule is one prefix. */
export const frr: Platform = {
  title: 'FRR 10 on Linux, with pbrd',
  comment: '!',
  notes: [
    'A next hop that is not reachable takes its rule out of the kernel, and the last rules refuse what it would have had.',
    'On the interface to this machine: sysctl net.ipv4.conf.NAME.rp_filter=2, since answers come with addresses of the internet.',
  ],
  text: ({ interface: name, sides }) => {
    const forwarded = sides.flatMap((side) => side.prefixes.map((prefix) => [prefix, side] as const));
    return [
      ...forwarded.flatMap(([prefix, { nextHop }], i) => rule(10 + i, prefix, `set nexthop ${nextHop}`)),
      ...sides.flatMap((side, i) => rule(699 + i, everything(side), 'set nexthop blackhole')),
      `interface ${name}`,
      ' pbr-policy POSTERN',
      'exit',
    ];
  },
};

function rule(sequence: number, prefix: string, action: string): string[] {
  return [
    `pbr-map POSTERN seq ${sequence}`,
    ` match src-ip ${prefix}`,
    ' match ip-protocol tcp',
    ' match dst-port 25',
    ` ${action}`,
    'exit',
  ];
}

function everything({ family }: Side): string {
  return family === 4 ? '0.0.0.0/0' : '::/0';
}
