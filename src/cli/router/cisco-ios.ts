import { type Platform, type Side, wildcard } from './request.ts';

/** `set interface Null0` is asked only when the next hop is not there: then it is refused and not routed as usual. */
export const ciscoIos: Platform = {
  title: 'Cisco IOS and IOS XE',
  comment: '!',
  notes: [
    'One route-map stands on an interface for each family: if there is one already, put these entries before its own.',
    'ESMTP inspection ("inspect smtp", "fixup") breaks what passes it; take port 25 out of it.',
  ],
  text: ({ interface: name, sides }) => [
    ...sides.flatMap(sideText),
    `interface ${name}`,
    ' ip policy route-map POSTERN',
    ' ipv6 policy route-map POSTERN6',
    'interface Null0',
    ' no ip unreachables',
    ' no ipv6 unreachables',
  ],
};

function sideText({ family, prefixes, nextHop }: Side): string[] {
  const ip = family === 4 ? 'ip' : 'ipv6';
  const map = family === 4 ? 'POSTERN' : 'POSTERN6';
  const list = (name: string): string =>
    family === 4 ? `ip access-list extended ${name}` : `ipv6 access-list ${name}`;
  const from = family === 4 ? prefixes.map(wildcard) : prefixes;
  return [
    ...(prefixes.length === 0
      ? []
      : [
          list(`${map}-NETWORKS`),
          ...from.map((prefix) => ` permit tcp ${prefix} any eq 25`),
          `route-map ${map} permit 10`,
          ` match ${ip} address ${map}-NETWORKS`,
          ` set ${ip} next-hop ${nextHop}`,
          ' set interface Null0',
        ]),
    list(`${map}-REST`),
    ' permit tcp any any eq 25',
    `route-map ${map} permit 20`,
    ` match ${ip} address ${map}-REST`,
    ' set interface Null0',
  ];
}
