/**
 * The rules that join several keys. Each looks at a draft, in which a key whose own value was refused is missing, and
 * says nothing about such a key: one fault, one message. Rules that ask the system are in outside.ts.
 */
import { isPrivate, overlaps, type Prefix } from '../kit/address.ts';
import { isExcusable } from '../policy/exceptions.ts';
import { hasDay, NEEDS_DAY } from './quota-check.ts';
import type { Endpoint } from './value/net.ts';
import type { Draft } from './read.ts';
import type { schema } from './schema.ts';

export type ConfigDraft = Draft<typeof schema.fields>;

export type Tell = {
  /** Report a key with its value as written; `expected` goes on the sentence "expected …". */
  readonly refuse: (key: string, expected: string) => void;
  /** a second key for such a sentence: `smarthost.tls = "none" (line 12)` or `… (the default)` */
  readonly other: (key: string) => string;
  /** the key is not in the file, so it is not the one to blame */
  readonly isDefault: (key: string) => boolean;
};

export type Rule = {
  /** one sentence for docs/config.md */
  readonly doc: string;
  readonly check: (draft: ConfigDraft, tell: Tell) => void;
};

const RULE_PATTERNS = ['sender', 'recipient', 'helo', 'header', 'body', 'attachment', 'url'] as const;

const NOT_EXCUSABLE =
  'a class that is decided here, unlike protocol.*, body.*, network.*, upstream.*, session.* and what there is no room for';
const NOT_OF_IDENTITIES =
  'a class that is decided when the message is there, such as "spam", "limit.messages" or "locked.identity": before, no identity is known';

export const rules: readonly Rule[] = [
  {
    doc: 'Each `network` has a name of its own. "unrouted" is taken: it stands in metrics for sources in no network.',
    check({ network }, { refuse, other }) {
      const keys = new Map<string, string>();
      for (const [i, { name }] of network.entries()) {
        if (name === undefined) continue;
        const key = `network[${i}].name`;
        const first = keys.get(name);
        if (first !== undefined) refuse(key, `a name of its own, unlike ${other(first)}`);
        else if (name === 'unrouted') refuse(key, 'another name: this one stands for sources in no network');
        else keys.set(name, key);
      }
    },
  },
  {
    doc: 'Each `rule` has a name of its own and at least one pattern.',
    check({ rule }, { refuse, other }) {
      const keys = new Map<string, string>();
      for (const [i, one] of rule.entries()) {
        const key = `rule[${i}].name`;
        // One whose pattern was refused is missing here, and has been spoken of.
        const patterns = RULE_PATTERNS.map((place) => (place in one ? one[place] : 'refused'));
        if (one.name === undefined) continue;
        const first = keys.get(one.name);
        if (first !== undefined) refuse(key, `a name of its own, unlike ${other(first)}`);
        else keys.set(one.name, key);
        if (patterns.every((pattern) => pattern === undefined))
          refuse(key, `at least one pattern beside it: ${RULE_PATTERNS.join(', ')}`);
      }
    },
  },
  {
    doc: 'An `exception` names at least one of `sources`, `destinations` and `identities`.',
    check({ exception }, { refuse }) {
      for (const [i, { sources, destinations, identities }] of exception.entries())
        if ([sources, destinations, identities].every((list) => list?.length === 0))
          refuse(`exception[${i}]`, 'sources, destinations or identities: an exception is for somebody');
    },
  },
  {
    doc: 'The classes of an `exception` are ones that it can excuse from; with `identities`, ones that are decided when the message is there.',
    check({ exception }, { refuse }) {
      for (const [i, { classes, identities }] of exception.entries()) {
        const isOfIdentities = (identities?.length ?? 0) > 0;
        for (const [j, of] of (classes ?? []).entries())
          if (of !== undefined && !isExcusable(of, isOfIdentities))
            refuse(`exception[${i}].classes[${j}]`, isOfIdentities ? NOT_OF_IDENTITIES : NOT_EXCUSABLE);
      }
    },
  },
  {
    doc: '`quota = "earned"` needs a `/day` in `limit_recipients`: what it can become at most. The same holds for subscribers.',
    check({ network }, { refuse }) {
      for (const [i, { quota, limitRecipients }] of network.entries())
        if (quota === 'earned' && limitRecipients && !hasDay(limitRecipients)) refuse(`network[${i}].quota`, NEEDS_DAY);
    },
  },
  {
    doc: 'Each `lock_rule` and each `step_rule` has a name of its own, and its networks are configured.',
    check({ lockRule, stepRule, network }, { refuse, other }) {
      for (const [list, rules] of [['lock_rule', lockRule] as const, ['step_rule', stepRule] as const]) {
        const keys = new Map<string, string>();
        for (const [i, { name, networks }] of rules.entries()) {
          const key = `${list}[${i}].name`;
          const first = name === undefined ? undefined : keys.get(name);
          if (first !== undefined) refuse(key, `a name of its own, unlike ${other(first)}`);
          else if (name !== undefined) keys.set(name, key);
          for (const [j, one] of (networks ?? []).entries())
            if (one !== undefined && !network.some((each) => each.name === one))
              refuse(`${list}[${i}].networks[${j}]`, 'the name of a network');
        }
      }
    },
  },
  {
    doc: 'No two prefixes overlap, neither within a network nor between two.',
    check({ network }, { refuse, other }) {
      for (const [earlier, later] of overlapping(network)) refuse(later, `no overlap with ${other(earlier)}`);
    },
  },
  {
    doc: 'Nothing stands twice in `intercept.inside`, `smarthost.servers` or the `prefixes` of all `exempt_to`.',
    check({ intercept, smarthost, exemptTo }, { refuse, other }) {
      const keysOf = (list: string, values: readonly (string | undefined)[] = []): [string, string | undefined][] =>
        values.map((value, i) => [`${list}[${i}]`, value]);
      const lists = [
        keysOf('intercept.inside', intercept.inside),
        keysOf(
          'smarthost.servers',
          smarthost.servers?.map((server) => server?.text),
        ),
        exemptTo.flatMap(({ prefixes }, i) =>
          keysOf(
            `exempt_to[${i}].prefixes`,
            prefixes?.map((prefix) => prefix?.text),
          ),
        ),
      ];
      for (const list of lists) {
        const keys = new Map<string, string>();
        for (const [key, value] of list) {
          const first = value === undefined ? undefined : keys.get(value);
          if (first !== undefined) refuse(key, `each once, unlike ${other(first)}`);
          else if (value !== undefined) keys.set(value, key);
        }
      }
    },
  },
  {
    doc: 'An `exempt_to` does not hold all destinations (`/0`). To exempt hosts there is `mode = "exempt"`.',
    check({ exemptTo }, { refuse }) {
      for (const [i, { prefixes }] of exemptTo.entries())
        for (const [j, prefix] of (prefixes ?? []).entries())
          if (prefix?.length === 0)
            refuse(
              `exempt_to[${i}].prefixes[${j}]`,
              'less than all destinations; to exempt hosts use a network with mode = "exempt"',
            );
    },
  },
  {
    doc: '`preserve.resolver` is on this machine: what it says of DNSSEC is believed, so nobody may stand between.',
    check({ preserve: { resolver } }, { refuse }) {
      if (resolver && !/^(?:127\.|::1$)/.test(resolver.host))
        refuse('preserve.resolver', 'a loopback address: who stands between could say that a forged answer is true');
    },
  },
  {
    doc: '`smarthost.tls = "none"` needs each server as a literal private or loopback address: mail in clear stays on your own wires.',
    check({ smarthost: { tls, servers } }, { refuse, other }) {
      if (tls !== 'none') return;
      for (const [i, server] of (servers ?? []).entries()) {
        if (server === undefined || (server.isAddress && isPrivate(server.host))) continue;
        refuse(`smarthost.servers[${i}]`, `a literal private or loopback address beside ${other('smarthost.tls')}`);
      }
    },
  },
  {
    doc: '`smarthost.username` and `smarthost.password_file` stand together or not at all.',
    check({ smarthost }, { refuse }) {
      const { username, passwordFile } = smarthost;
      if (username !== undefined && 'passwordFile' in smarthost && passwordFile === undefined) {
        refuse('smarthost.username', 'smarthost.password_file beside it, or neither');
      }
      if (passwordFile !== undefined && 'username' in smarthost && username === undefined) {
        refuse('smarthost.password_file', 'smarthost.username beside it, or neither');
      }
    },
  },
  {
    doc: 'With `smarthost.username`, `smarthost.tls` is "verify": credentials go only over verified TLS.',
    check({ smarthost: { tls, username } }, { refuse, other }) {
      if (username === undefined || tls === undefined || tls === 'verify') return;
      refuse('smarthost.tls', `"verify" beside ${other('smarthost.username')}: credentials go only over verified TLS`);
    },
  },
  {
    doc: '`smarthost.ca_file` does not stand beside `tls = "none"`, which looks at no certificate.',
    check({ smarthost: { tls, caFile } }, { refuse, other }) {
      if (tls === 'none' && caFile !== undefined)
        refuse('smarthost.ca_file', `no such key beside ${other('smarthost.tls')}`);
    },
  },
  {
    doc: '`smarthost.trusted_link` does not stand beside `tls = "verify"`, which needs no trust.',
    check({ smarthost: { tls, trustedLink } }, { refuse, other }) {
      if (tls === 'verify' && trustedLink === true)
        refuse('smarthost.trusted_link', `false beside ${other('smarthost.tls')}`);
    },
  },
  {
    doc: '`tls.certificate` and `tls.key` stand together or not at all.',
    check({ tls }, { refuse }) {
      if (tls.certificate !== undefined && 'key' in tls && tls.key === undefined)
        refuse('tls.certificate', 'tls.key beside it, or neither');
      if (tls.key !== undefined && 'certificate' in tls && tls.certificate === undefined)
        refuse('tls.key', 'tls.certificate beside it, or neither');
    },
  },
  {
    doc: 'In a network `trace = "hide"` stands with `egress = "preserve"` alone: a smarthost sends mail back, and our own Received line is how a loop is seen.',
    check({ network }, { refuse, other }) {
      for (const [i, { trace, egress }] of network.entries()) {
        if (trace !== 'hide' || egress !== 'smarthost') continue;
        refuse(
          `network[${i}].trace`,
          `"show" beside ${other(`network[${i}].egress`)}: only "preserve" sees loops without it`,
        );
      }
    },
  },
  {
    doc: '`smarthost.servers` has one where a network or subscriber has `egress = "smarthost"`.',
    check({ smarthost: { servers }, network }, { refuse, other }) {
      if (servers?.length !== 0) return;
      const i = network.findIndex(({ egress }) => egress === 'smarthost');
      if (i >= 0) refuse('smarthost.servers', `at least one server beside ${other(`network[${i}].egress`)}`);
    },
  },
  {
    doc: '`panel.listen`, `metrics.listen`, `complaints.listen` and `intercept.port` do not ask for the same port.',
    check({ panel, metrics, complaints, intercept: { port } }, tell) {
      const { listen } = complaints;
      if (listen && listen.port === port) together(tell, 'complaints.listen', 'intercept.port');
      for (const [key, other] of [['panel.listen', panel.listen] as const, ['metrics.listen', metrics.listen] as const])
        if (listen && other && collide(listen, other)) together(tell, 'complaints.listen', key);
      // The workers listen on every address of both families.
      if (panel.listen && panel.listen.port === port) together(tell, 'panel.listen', 'intercept.port');
      if (metrics.listen && metrics.listen.port === port) together(tell, 'metrics.listen', 'intercept.port');
      if (panel.listen && metrics.listen && collide(panel.listen, metrics.listen)) {
        together(tell, 'metrics.listen', 'panel.listen');
      }
    },
  },
  {
    doc: 'With `reports.from` there is a server in `smarthost.servers`: our own mail goes through it.',
    check({ reports, smarthost: { servers } }, { refuse }) {
      if (reports.from !== undefined && servers?.length === 0)
        refuse('reports.from', 'at least one server in smarthost.servers, through which our own mail goes');
    },
  },
  {
    doc: 'Each `tenant` has a name of its own.',
    check({ tenant }, { refuse, other }) {
      const keys = new Map<string, string>();
      for (const [i, { name }] of tenant.entries()) {
        const key = `tenant[${i}].name`;
        const first = name === undefined ? undefined : keys.get(name);
        if (first !== undefined) refuse(key, `a name of its own, unlike ${other(first)}`);
        else if (name !== undefined) keys.set(name, key);
      }
    },
  },
  {
    doc: '`limits.message_size` is at most `limits.body_total`; otherwise a large message could never be taken.',
    check({ limits: { bodyTotal, messageSize } }, tell) {
      if (bodyTotal === undefined || messageSize === undefined || bodyTotal >= messageSize) return;
      together(tell, 'limits.message_size', 'limits.body_total', 'at most', 'at least');
    },
  },
];

/**
 * Refuses two keys that do not go together: at the first, `expected ${toFirst} SECOND`; when the first is a default, at
 * the second, `expected ${toSecond} FIRST`.
 */
function together(tell: Tell, first: string, second: string, toFirst = 'another port than', toSecond = toFirst): void {
  if (tell.isDefault(first)) tell.refuse(second, `${toSecond} ${tell.other(first)}`);
  else tell.refuse(first, `${toFirst} ${tell.other(second)}`);
}

type Placed = { readonly prefix: Prefix; readonly key: string; readonly order: number };

/**
 * The keys of overlapping prefixes in pairs, the one that stands earlier in the file first. Prefixes are nested or
 * apart, never half and half, so in order of their first address each needs a look at the innermost open one only.
 */
function overlapping(networks: ConfigDraft['network']): [string, string][] {
  const all: Placed[] = [];
  for (const [i, { prefixes }] of networks.entries()) {
    for (const [j, prefix] of (prefixes ?? []).entries()) {
      if (prefix) all.push({ prefix, key: `network[${i}].prefixes[${j}]`, order: all.length });
    }
  }
  all.sort(({ prefix: a }, { prefix: b }) => a.family - b.family || compare(a.base, b.base) || a.length - b.length);
  const pairs: [string, string][] = [];
  const open: Placed[] = [];
  for (const placed of all) {
    while (open.length > 0 && !overlaps((open.at(-1) as Placed).prefix, placed.prefix)) open.pop();
    const outer = open.at(-1);
    if (outer) pairs.push(outer.order < placed.order ? [outer.key, placed.key] : [placed.key, outer.key]);
    open.push(placed);
  }
  return pairs;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether two listeners cannot both be had. A listener on `::` takes IPv4 as well. */
function collide(a: Endpoint, b: Endpoint): boolean {
  if (a.port !== b.port) return false;
  const hosts = [a.host, b.host];
  if (hosts.includes('::') || a.host === b.host) return true;
  return hosts.includes('0.0.0.0') && !hosts.some((host) => host.includes(':'));
}
