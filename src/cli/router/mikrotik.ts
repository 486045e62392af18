import type { Platform, Request, Side } from './request.ts';

/** `lookup-only-in-table`: without the next hop the packet has no way, and is not routed as usual. */
export const mikrotik: Platform = {
  title: 'MikroTik RouterOS 7',
  comment: '#',
  notes: [
    'Rules are added at the end: move them before any that accepts ("/ip firewall filter move [find comment=postern] destination=0").',
    'FastTrack passes by mangle: leave port 25 out of it, or leave it off.',
  ],
  text: (request) => [
    ...(request.sides.some(({ prefixes }) => prefixes.length > 0)
      ? [
          '/routing table add name=postern fib comment=postern',
          '/routing rule add routing-mark=postern action=lookup-only-in-table table=postern comment=postern',
        ]
      : []),
    ...request.sides.flatMap((side) => sideText(side, request)),
  ],
};

function sideText({ family, prefixes, nextHop }: Side, { interface: name }: Request): string[] {
  const ip = family === 4 ? '/ip' : '/ipv6';
  const all = family === 4 ? '0.0.0.0/0' : '::/0';
  const mail = `in-interface=${name} protocol=tcp dst-port=25`;
  return [
    ...(prefixes.length === 0
      ? []
      : [
          `${ip} route add dst-address=${all} gateway=${nextHop} routing-table=postern comment=postern`,
          ...prefixes.map((prefix) => `${ip} firewall address-list add list=postern address=${prefix} comment=postern`),
          `${ip} firewall mangle add chain=prerouting ${mail} src-address-list=postern action=mark-routing new-routing-mark=postern passthrough=no comment=postern`,
        ]),
    `${ip} firewall filter add chain=forward ${mail} src-address-list=!postern action=reject reject-with=tcp-reset comment=postern`,
  ];
}
