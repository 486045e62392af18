/**
 * The chains that decide about a connection to port 25. Every rule stands here in the spelling of iptables-save, so that
 * what is shown, what is applied and what is read back are one text.
 *
 * `-g` (goto) and not `-j`: a chain that ends returns to behind our jump and never to a rule that would decide again.
 */
import { keepsSource } from '../config/egress.ts';
import type { Config, Network } from '../config/schema.ts';
import type { Family } from '../kit/address.ts';
import { type Chain, setMembers, type Table } from './desired.ts';
import { exemptPrefixes } from './exempt.ts';
import { type Group, groupsOf } from './groups.ts';
import { CHAIN_PREFIX, MARK, networkChain, refusalComment, SETS } from './names.ts';

const CHAIN = {
  prerouting: `${CHAIN_PREFIX}PREROUTING`,
  mail: `${CHAIN_PREFIX}MAIL`,
  divert: `${CHAIN_PREFIX}DIVERT`,
  proxy: `${CHAIN_PREFIX}PROXY`,
  letThrough: `${CHAIN_PREFIX}LET`,
  answer: `${CHAIN_PREFIX}ANSWER`,
  reset: `${CHAIN_PREFIX}RESET`,
  drop: `${CHAIN_PREFIX}DROP`,
  input: `${CHAIN_PREFIX}INPUT`,
  forward: `${CHAIN_PREFIX}FORWARD`,
  output: `${CHAIN_PREFIX}OUTPUT`,
  own: `${CHAIN_PREFIX}OWN`,
} as const;

const TO_25 = '-p tcp -m tcp --dport 25';
/** to it, and what servers answer to workers that call them from a host's address */
const TO_OR_FROM_25 = '-p tcp -m multiport --ports 25';
/** what a router says of a packet: no way there, or too large (RFC 1191, RFC 8201); no redirects, no pings */
const UNREACHABLE: Readonly<Record<Family, readonly string[]>> = {
  4: ['-p icmp -m icmp --icmp-type 3'],
  6: ['-p ipv6-icmp -m icmp6 --icmpv6-type 1', '-p ipv6-icmp -m icmp6 --icmpv6-type 2'],
};
const SYN = '--tcp-flags FIN,SYN,RST,ACK SYN';
const NO_SYN = `-p tcp -m tcp ! ${SYN}`;
const REJECT = '-j REJECT --reject-with tcp-reset';
const counted = (network: string, reason: string): string =>
  `-m comment --comment "${refusalComment(network, reason)}"`;
/** let through by a rule with a reason: for whoever reads the rules, not counted as a refusal */
const passed = (network: string, reason: string): string => `-m comment --comment "postern-pass:${network}:${reason}"`;

/** The order of the decision; docs/flow.md has it as a picture. */
export function mangleTable(config: Config, family: Family): Table {
  const { inside, port } = config.intercept;
  const groups = groupsOf(config).filter(({ prefixes }) => setMembers(prefixes, family).length > 0);
  const preserve = keepsSource(config);
  const from = preserve ? `${TO_25} -g` : '-g';
  return {
    name: 'mangle',
    jumps: [
      {
        from: 'PREROUTING',
        rules: (preserve ? [TO_OR_FROM_25, ...UNREACHABLE[family]] : [TO_25]).map(
          (match) => `${match} -j ${CHAIN.prerouting}`,
        ),
      },
      ...(preserve ? [{ from: 'OUTPUT', rules: [`${TO_25} -j ${CHAIN.own}`] }] : []),
    ],
    chains: [
      {
        name: CHAIN.prerouting,
        about:
          'packets of connections that end here, whatever became of interface and rules since; then all from inside',
        rules: [
          `${NO_SYN} -m socket --transparent -m connmark ! --mark ${MARK.letThrough} -g ${CHAIN.divert}`,
          // Where a host and a worker have chosen the same port by chance, one entry tracks two connections, and takes
          // packets of either for invalid; those have no connection mark.
          ...(preserve
            ? [
                `${NO_SYN} -m socket --transparent -m conntrack --ctstate INVALID -g ${CHAIN.divert}`,
                // What a router says of a worker's packet is the worker's, whose kernel compares the sequence number that
                // it quotes (RFC 5927), as a host's would.
                `-p ${family === 4 ? 'icmp' : 'ipv6-icmp'} -m socket --transparent -m connmark ! --mark ${MARK.letThrough} -g ${CHAIN.divert}`,
              ]
            : []),
          ...inside.map((name) => `-i ${name} ${from} ${CHAIN.mail}`),
        ],
      },
      {
        name: CHAIN.mail,
        about: 'from inside to port 25: a decision stands for the life of its connection; a SYN is decided by network',
        // None of the first three is for a SYN. With the same addresses and ports as an earlier connection it can come
        // under that one's mark, and whoever forges a connection from a server's port 25 makes a SYN there an answer.
        rules: [
          // A worker's own SYN that a router has sent back: taken, it would go round for ever. Dropped, since a reset
          // would go to the host, whose address it has. Once that connection has an answer, the same ends are a host's
          // that has chosen the same port by chance.
          ...(preserve
            ? [
                `-p tcp -m tcp ${SYN} -m connmark --mark ${MARK.own} -m conntrack ! --ctstatus SEEN_REPLY ${counted('-', 'loop')} -j DROP`,
              ]
            : []),
          `${NO_SYN} -m connmark --mark ${MARK.letThrough} -g ${CHAIN.letThrough}`,
          // Still needed beside DIVERT: with SYN cookies the host's first ACK meets no socket but the listener.
          `${NO_SYN} -m connmark --mark ${MARK.proxy} -g ${CHAIN.proxy}`,
          `${NO_SYN} -m conntrack --ctdir REPLY -g ${CHAIN.answer}`,
          ...groups.map(({ id }) => `-m set --match-set ${SETS.network(id, family)} src -g ${networkChain(id)}`),
          `${counted('unrouted', 'unrouted')} -g ${CHAIN.reset}`,
        ],
      },
      ...groups.map((group) => networkRules(config, group, family)),
      {
        name: CHAIN.divert,
        about: 'to the socket that has this connection',
        rules: [`-j MARK --set-xmark ${MARK.proxy}`, '-j ACCEPT'],
      },
      {
        name: CHAIN.proxy,
        about: 'to a worker; dropped when none listens, and the host tries again',
        rules: [
          `-j CONNMARK --set-xmark ${MARK.proxy}`,
          `-p tcp -j TPROXY --on-port ${port} --on-ip ${family === 4 ? '0.0.0.0' : '::'} --tproxy-mark ${MARK.proxy}`,
        ],
      },
      {
        name: CHAIN.letThrough,
        about: 'past both fences, for the life of the connection',
        rules: [`-j CONNMARK --set-xmark ${MARK.letThrough}`, `-j MARK --set-xmark ${MARK.letThrough}`],
      },
      {
        name: CHAIN.answer,
        about: 'an answer to somebody outside who connected from his port 25: this packet only',
        rules: [`-j MARK --set-xmark ${MARK.letThrough}`],
      },
      {
        name: CHAIN.reset,
        about: 'refuse: delivered to this machine, whose INPUT answers with a reset',
        rules: [...countSource(family), `-j MARK --set-xmark ${MARK.refuse}`, '-j ACCEPT'],
      },
      { name: CHAIN.drop, about: 'refuse without a word', rules: [...countSource(family), '-j DROP'] },
      ...(preserve
        ? [
            {
              name: CHAIN.own,
              about: "a worker's connection from a host's address, so that it is known should it come back from inside",
              rules: [`-m mark --mark ${MARK.own} -j CONNMARK --set-xmark ${MARK.own}`],
            },
          ]
        : []),
    ],
  };
}

/** What becomes of a new connection of one network. A lock or a mode that refuses wins over exempt_to. */
function networkRules(config: Config, { id, network: name, mode, fail, refuse }: Group, family: Family): Chain {
  const refused = refuse === 'drop' ? CHAIN.drop : CHAIN.reset;
  const refuseAs = (reason: string, match = ''): string => `${match}${counted(name, reason)} -g ${refused}`;
  const locked = refuseAs('locked', `-m set --match-set ${SETS.locked(family)} src `);
  const exemptTo =
    setMembers(exemptPrefixes(config), family).length === 0
      ? []
      : [`-m set --match-set ${SETS.exemptTo(family)} dst ${passed(name, 'exempt-to')} -g ${CHAIN.letThrough}`];
  const intercept = [
    refuseAs('rate', `-p tcp -m tcp ${SYN} ${meter(config, family)} `),
    `-m set --match-set ${SETS.alive} dst -g ${CHAIN.proxy}`,
    fail === 'open' ? `${passed(name, 'dead')} -g ${CHAIN.letThrough}` : refuseAs('dead'),
  ];
  const byMode: Readonly<Record<Network['mode'], readonly string[]>> = {
    block: [refuseAs('block')],
    'smarthost-only': [refuseAs('smarthost-only')],
    exempt: [...exemptTo, `${passed(name, 'exempt')} -g ${CHAIN.letThrough}`],
    observe: [...exemptTo, ...intercept],
    enforce: [...exemptTo, ...intercept],
  };
  const about = id === name ? `network ${name}: ${mode}` : `subscribers in network ${name}: ${mode}`;
  return { name: networkChain(id), about, rules: [locked, ...byMode[mode]] };
}

/**
 * More new connections of one source than it may have. The limits are in the table's name, because the kernel gives a
 * rule that names an existing table that table's limits: without it a changed rate would be shown and not be in force.
 */
function meter({ intercept: { connectionRate, connectionBurst } }: Config, family: Family): string {
  const [amount, unit] = Number.isInteger(connectionRate)
    ? [connectionRate, 'sec']
    : [Math.max(1, Math.round(connectionRate * 60)), 'min'];
  return [
    `-m hashlimit --hashlimit-above ${amount}/${unit} --hashlimit-burst ${connectionBurst} --hashlimit-mode srcip`,
    `--hashlimit-name postern-${amount}-${unit}-${connectionBurst}`,
    // At most this many sources; a new one beyond it is dropped. An entry goes 30 s after the source's last packet.
    '--hashlimit-htable-size 16384 --hashlimit-htable-max 131072 --hashlimit-htable-expire 30000',
    ...(family === 6 ? ['--hashlimit-srcmask 64'] : []),
  ].join(' ');
}

/** One rule that counts: the test counts for a source that is there, the target adds one that is not, with a count of 1. */
function countSource(family: Family): string[] {
  const name = SETS.refused(family);
  return [`-p tcp -m tcp ${SYN} -m set ! --match-set ${name} src -j SET --add-set ${name} src`];
}

export function filterTable({ intercept: { inside, port } }: Config, workerUid: number): Table {
  return {
    name: 'filter',
    jumps: [
      { from: 'INPUT', rules: [`-p tcp -j ${CHAIN.input}`] },
      { from: 'FORWARD', rules: [`${TO_25} -j ${CHAIN.forward}`] },
      { from: 'OUTPUT', rules: [`${TO_25} -j ${CHAIN.output}`] },
    ],
    chains: [
      {
        name: CHAIN.input,
        about:
          "the reset for what was refused; the workers' port, which nobody calls by its number; the fence for our own addresses",
        rules: [
          `-p tcp -m mark --mark ${MARK.refuse} ${REJECT}`,
          `-p tcp -m tcp --dport ${port} ${SYN} ${counted('-', 'direct')} ${REJECT}`,
          ...inside.map((name) => `-i ${name} ${TO_25} -m mark --mark ${MARK.none} ${counted('-', 'fence')} ${REJECT}`),
        ],
      },
      {
        name: CHAIN.forward,
        about: 'the fence: from inside to port 25 only what was let through',
        rules: inside.map(
          (name) => `-i ${name} -p tcp -m mark ! --mark ${MARK.letThrough} ${counted('-', 'fence')} ${REJECT}`,
        ),
      },
      {
        name: CHAIN.output,
        about: 'from this machine to port 25 elsewhere only the workers',
        rules: [
          `-p tcp -m tcp ${SYN} -m addrtype ! --dst-type LOCAL -m owner ! --uid-owner ${workerUid} ${counted('-', 'output')} ${REJECT}`,
        ],
      },
    ],
  };
}
