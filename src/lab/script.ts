/**
 * What the lab tries, as data: who sends what with which client, and what must come of it.
 *
 * The rounds run one after the other, since a lock or a smarthost that is down concerns all; the trials of one round are
 * independent of each other.
 */
import type { Class } from '../policy/classes.ts';
import { type Ends, PLACES } from './network.ts';
import { UNKNOWN } from './smarthost.ts';

/** A network of the lab's configuration and the one host that the lab has in it. */
export type Place = Ends & {
  readonly network: string;
  readonly mode?: string;
  readonly egress?: 'preserve';
  readonly prefixes: readonly string[];
};

const place = (network: string, mode: string, host: string, prefix4: string, at6: string): Place => ({
  ...{ network, mode, v4: `198.51.100.${host}`, v6: `2001:db8:1${at6}::${host}` },
  prefixes: [prefix4, `2001:db8:1${at6}::/64`],
});

export const PLACED = {
  customer: place('customers', 'enforce', '10', '198.51.100.0/27', ''),
  observed: place('observed', 'observe', '40', '198.51.100.32/28', ':20'),
  blocked: place('blocked', 'block', '50', '198.51.100.48/28', ':30'),
  exempted: place('exempted', 'exempt', '70', '198.51.100.64/28', ':40'),
  submitter: place('submitters', 'smarthost-only', '90', '198.51.100.80/28', ':50'),
  keeper: { ...place('keepers', 'enforce', '100', '198.51.100.96/28', ':60'), egress: 'preserve' },
} as const satisfies Record<string, Place>;

/** A second customer, the one that gets locked. Another address, and so another source, than the first. */
const LOCKED: Ends = { v4: PLACES.hosts[1].v4, v6: '2001:db8:1::11' };
const STRANGER: Ends = PLACES.stranger;

/** The addresses that the inside namespace needs besides the usual ones. */
export const EXTRA_HOSTS: readonly string[] = Object.values(PLACED)
  .filter((each) => each !== PLACED.customer)
  .flatMap((each) => [each.v4, each.v6]);

export type Expected =
  /** the smarthost has it byte for byte, over TLS, with our Received on top, and the sender was told 250 */
  | { readonly kind: 'delivered' }
  /** a reply of ours, nothing arrived */
  | { readonly kind: 'refused'; readonly class: Class }
  /** the smarthost's own reply, passed on; nothing arrived */
  | { readonly kind: 'mirrored'; readonly reply: RegExp }
  /** the kernel resets the connection, nothing arrived */
  | { readonly kind: 'kernel' }
  /** the server that was called has it, from the host's own address, with our Received on top; its reply was passed on */
  | { readonly kind: 'preserved' }
  /** the server that was called has it, and Postern had no part in it */
  | { readonly kind: 'direct' };

export type Trial = {
  /** unique; stands in the subject, so that what arrived is told apart */
  readonly id: string;
  readonly tries: string;
  readonly source: string;
  /** the network that the source is in; `-` is none */
  readonly network: string;
  readonly client: 'swaks' | 'library';
  readonly server: string;
  readonly port: number;
  /** the namespace that sends */
  readonly where: 'inside' | 'internet';
  readonly from: string;
  readonly to: readonly string[];
  readonly message: Buffer;
  readonly is8bit: boolean;
  /** after a 4xx it is sent again, as a mail server would */
  readonly isPatient: boolean;
  readonly expected: Expected;
};

export type Round = {
  /** done before its trials: what the lab, as the operator, changes */
  readonly first?: { readonly says: string } & (
    | { readonly kind: 'lock' | 'unlock'; readonly subject: string }
    | { readonly kind: 'smarthost-down' | 'smarthost-up' }
  );
  readonly trials: readonly Trial[];
};

/** RFC 5322's test string for spam filters, as one line of a body. */
export const GTUBE = 'XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X';

const DIRECT = PLACES.direct;
const delivered: Expected = { kind: 'delivered' };
const kernel: Expected = { kind: 'kernel' };
const refused = (of: Class): Expected => ({ kind: 'refused', class: of });

type Change = Partial<Omit<Trial, 'message' | 'id' | 'tries' | 'expected'>> & { body?: string; header?: string };

/** `run` sets the subjects of this run apart from those of another. */
export function theScript(run: string): readonly Round[] {
  const trial = (id: string, tries: string, expected: Expected, change: Change = {}): Trial => {
    const { body = 'One line.\r\n', header, ...rest } = change;
    const from = rest.from ?? 'alice@customer.example';
    const to = rest.to ?? ['bob@example.org'];
    const subject = subjectOf(run, id);
    return {
      ...{ id, tries, expected, source: PLACED.customer.v4, network: 'customers', client: 'swaks' },
      ...{ server: DIRECT.v4, port: 25, where: 'inside', is8bit: false, isPatient: false },
      ...rest,
      ...{ from, to },
      message: Buffer.from(
        `${header ?? `From: Alice <${from || 'alice@customer.example'}>\r\n`}To: ${to.join(', ')}\r\n` +
          `Date: ${new Date().toUTCString().replace('GMT', '+0000')}\r\nMessage-ID: <${run}.${id}@customer.example>\r\n` +
          `Subject: ${subject}\r\n\r\n${body}`,
      ),
    };
  };
  const of = ({ network, v4 }: Place): Change => ({ network, source: v4 });
  const v6 = (source: string): Change => ({ source, server: DIRECT.v6 });
  const locked: Change = { source: LOCKED.v4 };

  return [
    {
      trials: [
        trial('plain', 'a normal mail', delivered),
        trial('plain6', 'a normal mail over IPv6', delivered, v6(PLACED.customer.v6)),
        trial('library', 'a normal mail, by a library', delivered, { client: 'library' }),
        trial('three', 'three recipients', delivered, {
          client: 'library',
          to: ['bob@example.org', 'carol@example.org', 'dave@example.com'],
        }),
        trial('eight', '8-bit text, lines that begin with dots', delivered, {
          client: 'library',
          is8bit: true,
          body: 'Grüße aus Köln\r\n.\r\n..\r\n.one dot\r\n',
        }),
        trial('null', 'the null sender, as for a bounce', delivered, { ...v6(PLACED.customer.v6), from: '' }),
        trial('gtube', 'the test string for spam filters', refused('spam.gtube'), { body: `${GTUBE}\r\n` }),
        trial('gtube6', 'the same over IPv6, by a library', refused('spam.gtube'), {
          ...v6(PLACED.customer.v6),
          client: 'library',
          body: `${GTUBE}\r\n`,
        }),
        trial('nofrom', 'a mail without From', refused('header.from-missing'), { header: '' }),
        trial(
          'unknown',
          'a recipient that the smarthost does not know',
          { kind: 'mirrored', reply: /^550 .*No such user here/ },
          { to: [`${UNKNOWN}@example.org`] },
        ),
        trial('observed', 'the test string, where we only observe', delivered, {
          ...of(PLACED.observed),
          body: `${GTUBE}\r\n`,
        }),
        trial('blocked', 'a mail', kernel, of(PLACED.blocked)),
        trial('blocked6', 'a mail over IPv6', kernel, { ...of(PLACED.blocked), ...v6(PLACED.blocked.v6) }),
        trial('submitter', 'a mail to port 25', kernel, of(PLACED.submitter)),
        trial('exempted', 'a mail, past us', { kind: 'direct' }, of(PLACED.exempted)),
        trial(
          'exempted6',
          'a mail over IPv6, past us',
          { kind: 'direct' },
          { ...of(PLACED.exempted), ...v6(PLACED.exempted.v6) },
        ),
        trial('kept', 'a mail, its own address kept', { kind: 'preserved' }, of(PLACED.keeper)),
        trial(
          'kept6',
          'a mail over IPv6, its own address kept',
          { kind: 'preserved' },
          { ...of(PLACED.keeper), ...v6(PLACED.keeper.v6) },
        ),
        trial('kept-gtube', 'the test string, address kept', refused('spam.gtube'), {
          ...of(PLACED.keeper),
          body: `${GTUBE}\r\n`,
        }),
        trial('stranger', 'a mail', kernel, { network: '-', source: STRANGER.v4 }),
        trial('stranger6', 'a mail over IPv6', kernel, { network: '-', ...v6(STRANGER.v6) }),
        trial('submit', 'port 587 of the same server', { kind: 'direct' }, { port: 587 }),
        trial(
          'submit6',
          'port 587 over IPv6',
          { kind: 'direct' },
          { ...v6(PLACED.submitter.v6), network: 'submitters', port: 587 },
        ),
        trial(
          'inward',
          'from outside to a host inside',
          { kind: 'direct' },
          {
            ...{ where: 'internet', network: 'outside', source: DIRECT.v4, server: PLACED.customer.v4 },
            ...{ from: 'bob@example.org', to: ['alice@customer.example'] },
          },
        ),
        trial(
          'inward6',
          'from outside to a host inside, IPv6',
          { kind: 'direct' },
          {
            ...{ where: 'internet', network: 'outside', source: DIRECT.v6, server: PLACED.customer.v6 },
            ...{ from: 'bob@example.org', to: ['alice@customer.example'] },
          },
        ),
      ],
    },
    {
      first: { kind: 'lock', subject: LOCKED.v4, says: `lock ${LOCKED.v4}` },
      trials: [
        trial('locked', 'a mail while locked', refused('locked.subscriber'), locked),
        trial('unlocked-other', 'a mail of another customer meanwhile', delivered),
      ],
    },
    {
      first: { kind: 'unlock', subject: LOCKED.v4, says: `unlock ${LOCKED.v4}` },
      trials: [trial('unlocked', 'a mail after it was unlocked', delivered, locked)],
    },
    {
      first: { kind: 'smarthost-down', says: 'the smarthost is killed' },
      trials: [
        trial('down', 'a mail while the smarthost is down', refused('upstream.down')),
        trial('down6', 'the same over IPv6', refused('upstream.down'), v6(PLACED.customer.v6)),
      ],
    },
    {
      first: { kind: 'smarthost-up', says: 'the smarthost is started again' },
      trials: [trial('up', 'a mail, tried until it is taken', delivered, { isPatient: true })],
    },
  ];
}

export function subjectOf(run: string, id: string): string {
  return `lab ${run} ${id}`;
}
