import type { Platform, Request, Side } from './request.ts';

const TABLE = 25;

/** The blackhole is the route of last resort of its table: without the next hop nothing is routed as usual. */
export const vyos: Platform = {
  title: 'VyOS 1.4',
  comment: '#',
  notes: ['Then: commit; save.'],
  text: (request) => request.sides.flatMap((side) => sideText(side, request)),
};

function sideText({ family, prefixes, nextHop }: Side, { interface: name }: Request): string[] {
  const v6 = family === 4 ? '' : '6';
  const group = family === 4 ? 'network-group' : 'ipv6-network-group';
  const policy = `set policy route${v6} POSTERN${v6}`;
  const route = `set protocols static table ${TABLE} route${v6} ${family === 4 ? '0.0.0.0/0' : '::/0'}`;
  const mail = (rule: number): string[] => [
    `${policy} rule ${rule} protocol tcp`,
    `${policy} rule ${rule} destination port 25`,
  ];
  return [
    ...(prefixes.length === 0
      ? []
      : [
          `${route} next-hop ${nextHop}`,
          `${route} blackhole distance 254`,
          ...prefixes.map((prefix) => `set firewall group ${group} POSTERN${v6} network ${prefix}`),
          ...mail(10),
          `${policy} rule 10 source group network-group POSTERN${v6}`,
          `${policy} rule 10 set table ${TABLE}`,
          // The first rule that matches does not end the list.
          ...mail(20),
          `${policy} rule 20 source group network-group !POSTERN${v6}`,
        ]),
    ...(prefixes.length === 0 ? mail(20) : []),
    `${policy} rule 20 action drop`,
    `${policy} interface ${name}`,
  ];
}
