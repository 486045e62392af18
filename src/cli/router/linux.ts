import type { Platform, Request, Side } from './request.ts';

const TABLE = 2525;
const PREFERENCE = { networks: 2525, rest: 2526 } as const;

/** Routing rules alone, for sh. What its table has no route for meets the last rule, which refuses it. */
export const linux: Platform = {
  title: 'Linux, with iproute2',
  comment: '#',
  notes: [
    'As root; put it where it runs at boot, before the links come up. May be run again.',
    'On the interface to this machine: sysctl net.ipv4.conf.NAME.rp_filter=2, since answers come with addresses of the internet.',
  ],
  text: (request) => request.sides.flatMap((side) => sideText(side, request)),
};

function sideText({ family, prefixes, nextHop }: Side, { interface: name }: Request): string[] {
  const ip = `ip -${family}`;
  const mail = `iif ${name} ipproto tcp dport 25`;
  const again = (preference: number): string => `while ${ip} rule del pref ${preference} 2>/dev/null; do :; done`;
  return [
    // The refusal first, and last to be taken away: there is no moment without it.
    `${ip} rule add pref ${PREFERENCE.rest} ${mail} prohibit 2>/dev/null || :`,
    again(PREFERENCE.networks),
    `${ip} route flush table ${TABLE} 2>/dev/null || :`,
    ...(prefixes.length === 0
      ? []
      : [
          `${ip} route replace default via ${nextHop} table ${TABLE}`,
          ...prefixes.map(
            (prefix) => `${ip} rule add pref ${PREFERENCE.networks} from ${prefix} ${mail} lookup ${TABLE}`,
          ),
        ]),
  ];
}
