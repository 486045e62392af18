import type { Platform, Request, Side } from './request.ts';

/** A forwarding instance whose only route is this machine: when it is not there, packets have no way at all. */
export const junos: Platform = {
  title: 'Junos',
  comment: '#',
  notes: [
    'One input filter stands on an interface for each family: if there is one already, put these terms before its own.',
  ],
  text: (request) => [
    ...(request.sides.some(({ prefixes }) => prefixes.length > 0)
      ? ['set routing-instances POSTERN instance-type forwarding']
      : []),
    ...request.sides.flatMap((side) => sideText(side, request)),
  ],
};

function sideText({ family, prefixes, nextHop }: Side, { interface: name }: Request): string[] {
  const [inet, filter] = family === 4 ? ['inet', 'POSTERN'] : ['inet6', 'POSTERN6'];
  const rib = `${inet}.0`;
  const term = (of: string): string => `set firewall family ${inet} filter ${filter} term ${of}`;
  const protocol = family === 4 ? 'protocol' : 'next-header';
  const mail = (of: string): string[] => [`${term(of)} from ${protocol} tcp`, `${term(of)} from destination-port 25`];
  const port = /\.\d+$/.test(name) ? name.replace(/\.(\d+)$/, ' unit $1') : `${name} unit 0`;
  return [
    ...(prefixes.length === 0
      ? []
      : [
          `set routing-instances POSTERN routing-options ${family === 4 ? 'static route 0.0.0.0/0' : `rib POSTERN.${rib} static route ::/0`} next-hop ${nextHop}`,
          // The instance must know how the next hop is reached.
          `set routing-options rib-groups ${filter} import-rib [ ${rib} POSTERN.${rib} ]`,
          `set routing-options interface-routes rib-group ${inet} ${filter}`,
          ...prefixes.map((prefix) => `${term('networks')} from source-address ${prefix}`),
          ...mail('networks'),
          `${term('networks')} then routing-instance POSTERN`,
        ]),
    ...mail('rest'),
    `${term('rest')} then reject tcp-reset`,
    `${term('else')} then accept`,
    `set interfaces ${port} family ${inet} filter input ${filter}`,
  ];
}
