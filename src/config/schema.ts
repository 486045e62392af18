/**
 * Every key of the configuration file: type, default, doc and check, declared once.
 *
 * The order here is the order of the example file and of docs/config.md. Rules that join several keys (overlapping
 * prefixes, contradictions) are in check.ts.
 */
import {
  boolean,
  choice,
  className,
  countOrAuto,
  decimal,
  dnsList,
  durationMs,
  endpoint,
  hostName,
  identityRule,
  type Infer,
  inherited,
  integer,
  interfaceName,
  list,
  limit,
  limits,
  listOf,
  mailOf,
  mailAddress,
  optional,
  path,
  pattern,
  perSecond,
  senderPattern,
  prefix,
  service,
  sizeBytes,
  sizeLimit,
  subscriberPrefix,
  table,
  text,
} from './field.ts';

/** What a finding, or a filter's own failure, leads to; filters' docs say what each word means. */
const ACTIONS = ['ignore', 'tag', 'defer', 'reject'] as const;
export type Action = (typeof ACTIONS)[number];

export const MODES = ['exempt', 'observe', 'enforce', 'smarthost-only', 'block'] as const;
export type Mode = (typeof MODES)[number];

/** By a smarthost, or to the original server from the host's own address. */
export const EGRESSES = ['smarthost', 'preserve'] as const;
export type Egress = (typeof EGRESSES)[number];

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/;
const NAME_TYPE = 'a name of letters, digits and "._-", at most 40';

/** What a network has; a subscriber may have all but the first three otherwise. */
const networkFields = {
  name: text({
    doc: 'The name in log, metrics and kernel sets.',
    example: 'customers',
    pattern: /^[a-z][a-z0-9-]{0,15}$/,
    type: 'a name of a-z, 0-9 and "-", a letter first, at most 16',
  }),
  prefixes: listOf(prefix, {
    doc: 'Sources that belong to it.',
    example: ['198.51.100.0/24', '2001:db8:1::/48'],
    min: 1,
  }),
  mode: choice(MODES, {
    doc: '"exempt": not intercepted. "observe": everything is judged, nothing of ours refused. "enforce". "smarthost-only": port 25 is refused, 587 and 465 are free. "block": port 25 is refused.',
    default: 'enforce',
  }),
  egress: choice(EGRESSES, {
    doc: 'How mail goes on. "smarthost": to `smarthost.servers`. "preserve": to the server that the host had called, from the host\'s own address; both directions have to cross this machine ("postern doctor").',
    default: 'smarthost',
  }),
  trace: choice(['show', 'hide'], {
    doc: 'Whether a Received line of ours is put on top of each message. "hide" only with egress "preserve".',
    default: 'show',
  }),
  fail: choice(['closed', 'open'], {
    doc: 'When no worker answers: "closed" refuses, "open" lets this network\'s connections through.',
    default: 'closed',
  }),
  refuse: choice(['reset', 'drop'], { doc: 'How the kernel refuses.', default: 'reset' }),
  ipv6_prefix: integer({
    doc: 'IPv6: how many bits of an address are one subscriber where none is configured. A host has at least a /64 to choose from, a line often a /56.',
    default: 64,
    min: 32,
    max: 64,
  }),
  max_connections: integer({
    doc: 'Concurrent, per subscriber: a configured one with all its addresses together, else a source address (IPv6: per `ipv6_prefix`).',
    default: 200,
    min: 1,
    max: 100000,
  }),
  content: choice(['full', 'blind'], {
    doc: 'With "blind" no filter looks at a message: none reads a byte of it. What stands before the message, envelope and rates, is judged as ever, and Received lines are counted to break loops.',
    default: 'full',
  }),
  score_tag: optional(
    decimal({
      doc: "Sum of all findings' scores at which a message is marked; 1 is certainty.",
      example: 0.6,
      max: 100,
    }),
  ),
  score_defer: optional(decimal({ doc: 'The sum at which it is put off.', example: 0.8, max: 100 })),
  score_reject: optional(decimal({ doc: 'The sum at which it is refused.', example: 0.9, max: 100 })),
  limit_connections: limits(limit, {
    doc: 'New connections of one subscriber, "5/minute": an element for each period. Over it 421. Minutes and hours fill evenly, longer periods are those of the calendar in UTC.',
    example: ['60/minute'],
  }),
  limit_messages: limits(limit, {
    doc: 'Messages that the far side took; over it 451 to each recipient.',
    example: ['300/hour', '5000/week'],
  }),
  limit_recipients: limits(limit, { doc: 'Recipients that the far side took.', example: ['2000/day'] }),
  limit_bytes: limits(sizeLimit, { doc: 'Octets of messages that the far side took.', example: ['1GiB/day'] }),
  limit_domains: limits(limit, {
    doc: 'Different domains of recipients, in periods of the calendar.',
    example: ['200/hour'],
  }),
  limit_senders: limits(limit, {
    doc: 'Different sender addresses, in periods of the calendar. The null sender is none.',
    example: ['20/hour'],
  }),
  limit_unknown: limits(limit, {
    doc: 'Recipients that the far side did not know (550, 551 or 553, with 5.1.x where it says more).',
    example: ['50/day'],
  }),
  identity: listOf(identityRule, {
    doc: 'Who it is behind a subscriber: the first of these that finds something. "sender" is the envelope\'s, "header NAME" a whole value, "header NAME PATTERN" what the one group catches (RE2, linear time).',
    default: [],
    example: ['header X-AuthUser', 'header X-PHP-Originating-Script ^(.*?)\\(', 'sender'],
  }),
  identity_limit_messages: limits(limit, {
    doc: 'The same for each identity, beside the limits of its subscriber: known, and refused, when the message is there.',
    example: ['50/hour'],
  }),
  identity_limit_recipients: limits(limit, { doc: 'Recipients that the far side took.', example: ['200/day'] }),
  identity_limit_bytes: limits(sizeLimit, { doc: 'Octets of its messages.', example: ['100MiB/day'] }),
  identity_limit_domains: limits(limit, {
    doc: "Different domains of its messages' recipients.",
    example: ['50/hour'],
  }),
  identity_limit_senders: limits(limit, { doc: 'Different sender addresses.', example: ['3/hour'] }),
  identity_limit_unknown: limits(limit, {
    doc: 'Recipients that the far side did not know, of transactions with a message.',
    example: ['10/day'],
  }),
  senders: listOf(senderPattern, {
    doc: 'Sender addresses that these hosts may use in MAIL; none is any. The null sender is always allowed.',
    default: [],
    example: ['*@example.com', '*@*.example.com', 'shop@example.net'],
  }),
  bounce_recipients: integer({
    doc: 'Recipients of one message with the null sender: a bounce has one.',
    default: 1,
    min: 1,
    max: 100000,
  }),
  messages_per_connection: integer({
    doc: 'Messages over one connection, then 421 at the next MAIL; 0 is without end.',
    default: 0,
    min: 0,
    max: 100000,
  }),
  slow_from: integer({
    doc: 'Percent of a limit from which on each recipient is answered later, by slow_by; 0 is never.',
    default: 0,
    min: 0,
    max: 100,
  }),
  slow_by: durationMs({ doc: 'How much later.', default: '5s', min: '10ms', max: '60s' }),
  log: choice(['full', 'hash', 'none'], {
    doc: 'Addresses of mail in journal and log: as they are, as a keyed hash, or not at all.',
    default: 'full',
  }),
  contact: optional(mailAddress({ doc: 'Who is to be told of what these hosts do.', example: 'abuse@example.net' })),
  tenant: optional(
    text({
      doc: 'To whom these hosts belong: several subscribers may have one tenant.',
      example: 'example-hosting',
      pattern: NAME,
      type: NAME_TYPE,
    }),
  ),
} as const;

export const schema = table('Postern, the gate through which mail leaves a network.', {
  gateway: table('The gateway itself.', {
    name: hostName({ doc: 'EHLO name towards the smarthost, and the name in Received.', example: 'gw1.example.net' }),
    state_dir: path({ doc: 'Where the journal and the locks are kept.', default: '/var/lib/postern' }),
    run_dir: path({ doc: 'Where the sockets between the roles are.', default: '/run/postern' }),
    workers: countOrAuto({ doc: 'Worker processes; "auto" is one for each processor.', default: 'auto', max: 64 }),
    help_url: text({
      doc: 'Shown in every refusal with the class appended: where a sender reads what it means.',
      default: 'https://postern.invalid/classes/',
      example: 'https://mail.example.net/postern/',
      pattern: /^https?:\/\/[\x21-\x7e]{3,120}$/,
      type: 'a URL that begins with http:// or https://, with at most 120 characters after that',
    }),
    drain: durationMs({
      doc: 'How long running sessions may go on after SIGTERM, then 421.',
      default: '30s',
      max: '1h',
    }),
    keeper_failure: choice(['local', 'defer'], {
      doc: 'When a worker cannot reach the keeper: "local" holds each limit with the worker\'s own share, "defer" answers 421.',
      default: 'local',
    }),
  }),
  intercept: table('What the kernel takes, and where it hands it.', {
    inside: listOf(interfaceName, {
      doc: 'Interfaces whose hosts are intercepted.',
      example: ['lan0'],
      min: 1,
    }),
    port: integer({
      doc: 'Where the workers listen; never reachable from outside directly.',
      default: 2525,
      min: 1024,
      max: 65535,
    }),
    exempt_to: listOf(prefix, {
      doc: 'Destinations never intercepted. Each is a way round, shown by "postern status".',
      default: [],
      example: ['192.0.2.10/32'],
    }),
    connection_rate: perSecond({
      doc: 'New connections per source (IPv6: per /64) before the kernel refuses the rest.',
      default: '50/s',
    }),
    connection_burst: integer({
      doc: 'How many may come at once before that rate counts.',
      default: 200,
      min: 1,
      max: 10000,
    }),
  }),
  smarthost: table('The server that takes what is clean.', {
    servers: listOf(endpoint, {
      doc: 'Tried in order; IPv6 as "[2001:db8::1]:587".',
      example: ['smtp.example.net:587'],
      min: 1,
    }),
    tls: choice(['verify', 'opportunistic', 'none'], {
      doc: '"verify": STARTTLS with a checked certificate or nothing. "none" only with a literal private or loopback address.',
      default: 'verify',
    }),
    trusted_link: boolean({
      doc: 'Whether you vouch for the link to the servers (loopback, IPsec, same rack): hosts are then offered STARTTLS, and what came in encrypted goes on over it, even where the servers offer no TLS. Counted and shown.',
      default: false,
    }),
    ca_file: optional(path({ doc: "Certificates to trust instead of the system's.", example: '/etc/ssl/x.pem' })),
    username: optional(text({ doc: 'SMTP AUTH, together with password_file; only over TLS.', example: 'gw1' })),
    password_file: optional(
      path({
        doc: 'A file with the password, readable by the workers only.',
        example: '/etc/postern/smarthost.password',
      }),
    ),
    max_connections: integer({
      doc: 'Connections to the smarthost, of all workers together.',
      default: 100,
      min: 1,
      max: 5000,
    }),
    connect_timeout: durationMs({
      doc: 'For connecting to a server until its EHLO is answered.',
      default: '10s',
      min: '100ms',
      max: '5m',
    }),
    reply_timeout: durationMs({ doc: 'For each reply but the final one.', default: '60s', min: '100ms', max: '10m' }),
    final_timeout: durationMs({
      doc: 'For the reply to a whole message (RFC 5321 section 4.5.3.2.6). All that comes before its final dot has 9 minutes less this, at least 1 minute: hosts give up after 10, and send again.',
      default: '5m',
      min: '100ms',
      max: '10m',
    }),
    idle_timeout: durationMs({
      doc: 'How long an unused connection is kept.',
      default: '30s',
      min: '100ms',
      max: '5m',
    }),
    hold: durationMs({
      doc: 'How long a host that is slow over its next recipient or its body may hold a connection; then it is given back, and the envelope repeated on one when needed.',
      default: '3s',
      min: '10ms',
      max: '5m',
    }),
    refresh: durationMs({
      doc: 'How often each server is asked what it offers.',
      default: '60s',
      min: '1s',
      max: '1h',
    }),
  }),
  tls: table('The TLS that hosts are offered, see docs/tls.md.', {
    certificate: optional(
      path({
        doc: 'A certificate with its chain, in PEM, to show to every host. Without it one is made for each name.',
        example: '/etc/postern/host.pem',
      }),
    ),
    key: optional(
      path({ doc: 'The key to it, in PEM, readable by the workers only.', example: '/etc/postern/host.key' }),
    ),
    require_from: listOf(mailOf, {
      doc: 'Senders whose mail is taken over TLS only: all, domains (none below them), addresses. In clear they get 451 4.7.10.',
      default: [],
      example: ['example.net', 'a@example.org'],
    }),
    require_to: listOf(mailOf, {
      doc: 'Recipients whose mail goes on over TLS only, likewise; in clear only over a trusted link.',
      default: [],
      example: ['example.com'],
    }),
    handshake_timeout: durationMs({ doc: 'For a TLS handshake of a host.', default: '30s', min: '100ms', max: '5m' }),
  }),
  preserve: table('The servers that hosts call, where a network has egress = "preserve".', {
    connect_timeout: durationMs({
      doc: 'For the connection, and then for the banner: the host waits for its own banner meanwhile.',
      default: '30s',
      min: '100ms',
      max: '4m',
    }),
    reply_timeout: durationMs({
      doc: 'For each reply but the final one (RFC 5321 section 4.5.3.2).',
      default: '5m',
      min: '100ms',
      max: '10m',
    }),
    final_timeout: durationMs({
      doc: 'For the reply to a whole message. All that comes before its final dot has 9 minutes less this, at least 1 minute.',
      default: '5m',
      min: '100ms',
      max: '10m',
    }),
  }),
  limits: table('Bounds of a session and of a message.', {
    message_size: sizeBytes({ doc: 'Largest message; also announced as SIZE.', default: '50MiB', max: '2GiB' }),
    recipients: integer({
      doc: 'Recipients of one message; the next gets 452 (RFC 5321 section 4.5.3.1.8 asks for 100).',
      default: 1000,
      min: 100,
      max: 100000,
    }),
    errors: integer({
      doc: 'Refused commands in one session before it is ended with 421.',
      default: 20,
      min: 1,
      max: 1000,
    }),
    body_line: sizeBytes({
      doc: 'Longest line of a body. RFC 5322 says 998; longer ones are passed on unchanged up to this.',
      default: '64KiB',
      min: '998B',
      max: '2GiB',
    }),
    command_timeout: durationMs({
      doc: 'From one command to the whole of the next.',
      default: '5m',
      min: '100ms',
      max: '1h',
    }),
    idle_timeout: durationMs({
      doc: 'How long a session may go on without a new message, whatever else it says.',
      default: '15m',
      min: '100ms',
      max: '1d',
    }),
    data_timeout: durationMs({ doc: 'For a whole DATA.', default: '10m', min: '100ms', max: '2h' }),
    data_rate: sizeBytes({
      doc: 'Least bytes per second of a body, counted after its first 30 seconds.',
      default: '500B',
      max: '1GiB',
    }),
    write_timeout: durationMs({
      doc: 'How long a host may leave our replies unread.',
      default: '60s',
      min: '100ms',
      max: '1h',
    }),
    body_memory: sizeBytes({
      doc: 'How much all bodies of one worker hold in memory together; what comes beyond goes to unlinked files in run_dir. Bodies over 64 KiB take at most three quarters of it.',
      default: '64MiB',
      max: '1GiB',
    }),
    body_total: sizeBytes({
      doc: 'How much of all bodies together is held by one worker, in memory and in files; beyond it DATA gets 452.',
      default: '512MiB',
      max: '1024GiB',
    }),
    received: integer({ doc: 'Received lines at which a message counts as looping.', default: 50, min: 5, max: 500 }),
    slow_replies: integer({
      doc: 'How many replies one worker holds back at a time (slow_by of a network); beyond it they go at once.',
      default: 200,
      min: 0,
      max: 100000,
    }),
    notice_every: integer({
      doc: 'The first time that a subscriber is over one of its limits, and each so many times after, is told in the log (limit.reached).',
      default: 100,
      min: 1,
      max: 1000000,
    }),
    pressure: integer({
      doc: 'Percent of the descriptors in use at which deadlines shrink to a fifth; at 80 new connections get 421.',
      default: 60,
      min: 10,
      max: 80,
    }),
  }),
  filters: table(
    'What looks at a message. Filters report; what a finding or a failure leads to is said here: "ignore" only records it and adds its score, "tag" also puts a line "X-Postern-Tag: CLASS; id=ID" above the message, "defer" and "reject" refuse it.',
    {
      deadline: durationMs({
        doc: 'For all filters of one stage together: before the banner, at the first recipient, after the message.',
        default: '10s',
        min: '10ms',
        max: '5m',
      }),
      gtube: table('The standard test string for spam filters.', {
        finding: choice(ACTIONS, { doc: 'When the string is found.', default: 'reject' }),
        failure: choice(ACTIONS, { doc: 'When the filter fails or is late.', default: 'defer' }),
      }),
      threads: integer({
        doc: 'Threads of each worker for what takes longer than its loop can spare: large messages, archives.',
        default: 1,
        min: 1,
        max: 16,
      }),
      content: table(
        'How a message is taken apart for the filters that ask for it ("attachments" does). Past a limit they see what comes before it, and the limit itself is a finding: what was not looked at is never called clean.',
        {
          deadline: durationMs({ doc: 'For one message.', default: '5s', min: '10ms', max: '5m' }),
          max_size: sizeBytes({ doc: 'Largest message that is taken apart.', default: '64MiB', max: '1GiB' }),
          max_parts: integer({ doc: 'Parts of one message.', default: 1000, min: 1, max: 100_000 }),
          max_depth: integer({ doc: 'Multiparts and messages in one another.', default: 50, min: 1, max: 1000 }),
          max_fields: integer({ doc: 'Fields of one header.', default: 1000, min: 10, max: 100_000 }),
          max_header: sizeBytes({ doc: 'Size of one header.', default: '256KiB', min: '1KiB', max: '16MiB' }),
          size: choice(ACTIONS, { doc: 'When a message is larger.', default: 'tag' }),
          parts: choice(ACTIONS, { doc: 'When there are more parts.', default: 'reject' }),
          depth: choice(ACTIONS, { doc: 'When they lie deeper in one another.', default: 'reject' }),
          header: choice(ACTIONS, { doc: 'When a header is larger or has more fields.', default: 'reject' }),
          ambiguous: choice(ACTIONS, {
            doc: 'Two Content-Type or like fields in one part: readers differ in which they take.',
            default: 'tag',
          }),
          partial: choice(ACTIONS, {
            doc: 'A piece of a message (message/partial), of which no filter sees the whole.',
            default: 'reject',
          }),
          failure: choice(ACTIONS, { doc: 'When a message cannot be taken apart in time.', default: 'defer' }),
        },
      ),
      attachments: table(
        'Files in a message, by their names (as they stand, and decoded after RFC 2231 and 2047), by what they really are, and by what is listed in zip, rar, tar and gz files to three levels. Nothing is unpacked but archives in archives, in at most 100 MiB and 10,000 entries a message.',
        {
          enabled: boolean({ doc: 'Whether it looks at all.', default: false }),
          extensions: listOf(text, {
            doc: 'Names that end so are of files that run, also in archives.',
            default:
              'bat cmd com cpl dll exe hta jar js jse lnk msc msi msp mst paf pif ps1 psc1 reg scr vb vbe vbs wsf wsh'.split(
                ' ',
              ),
          }),
          executable: choice(ACTIONS, {
            doc: 'A name with such an extension, or a program by its first octets.',
            default: 'reject',
          }),
          disguised: choice(ACTIONS, { doc: 'A program under the name of a picture or a text.', default: 'reject' }),
          macro: choice(ACTIONS, { doc: 'An Office file with macros.', default: 'tag' }),
          encrypted: choice(ACTIONS, { doc: 'An archive that needs a password.', default: 'tag' }),
          limits: choice(ACTIONS, {
            doc: 'An archive past those limits, deeper than three levels, or that unpacks to more than a hundred times its size.',
            default: 'reject',
          }),
          unread: choice(ACTIONS, {
            doc: 'An archive that is not looked into: 7z, bz2, xz, cab, disk images, and damaged ones.',
            default: 'ignore',
          }),
          failure: choice(ACTIONS, { doc: 'When the filter fails or is late.', default: 'defer' }),
        },
      ),
      campaign: table(
        'Many subscribers whose mails look alike, whatever words, links and order differ: a botnet below every limit. The keeper compares sketches of 63 numbers, never text. A large newsletter of one subscriber is none, nor one message that is sent on by many; what many hosts send by one template (a shop, a forum program) is one: look at what it finds before it refuses.',
        {
          enabled: boolean({
            doc: 'Whether it looks at all. Each message is then asked of the keeper.',
            default: false,
          }),
          subscribers: integer({
            doc: 'So many different subscribers within the window make a campaign.',
            default: 10,
            min: 2,
            max: 1000,
          }),
          window: durationMs({ doc: 'How far back alike mails count.', default: '1h', min: '1m', max: '7d' }),
          max_clusters: integer({
            doc: 'Of how many different mails the keeper knows the look, at about 2 KiB each.',
            default: 50_000,
            min: 1000,
            max: 1_000_000,
          }),
          finding: choice(ACTIONS, { doc: 'When a mail is part of a campaign.', default: 'tag' }),
          failure: choice(ACTIONS, { doc: 'When the keeper does not answer.', default: 'ignore' }),
        },
      ),
      behaviour: table(
        'How the subscriber has behaved within the window, in all of its mail. Also in networks with content = "blind", for it looks at no message.',
        {
          enabled: boolean({
            doc: 'Whether it looks at all. Each transaction is then asked of the keeper.',
            default: false,
          }),
          window: durationMs({
            doc: 'How far back it counts, and half as long again at most.',
            default: '1h',
            min: '1m',
            max: '7d',
          }),
          max_helos: integer({ doc: 'Names in HELO and EHLO.', default: 10, min: 2, max: 200 }),
          max_sender_domains: integer({ doc: 'Domains of envelope senders.', default: 50, min: 2, max: 2000 }),
          max_recipients: integer({ doc: 'Different recipients.', default: 1000, min: 2, max: 2000 }),
          max_unknown: integer({
            doc: 'Percent of recipients that the far side does not know.',
            default: 30,
            min: 1,
            max: 100,
          }),
          min_asked: integer({ doc: 'Recipients before that percentage counts.', default: 20, min: 1, max: 10_000 }),
          helo: choice(ACTIONS, { doc: 'At max_helos.', default: 'tag' }),
          senders: choice(ACTIONS, { doc: 'At max_sender_domains.', default: 'tag' }),
          recipients: choice(ACTIONS, { doc: 'At max_recipients.', default: 'ignore' }),
          unknown: choice(ACTIONS, { doc: 'At max_unknown.', default: 'tag' }),
          first: choice(ACTIONS, {
            doc: "The first mail of a subscriber that the keeper has seen; known after a window from the keeper's start.",
            default: 'ignore',
          }),
          early: choice(ACTIONS, { doc: 'It spoke before it was greeted (RFC 5321 section 3.1).', default: 'ignore' }),
          failure: choice(ACTIONS, { doc: 'When the keeper does not answer.', default: 'ignore' }),
        },
      ),
      urls: table('Addresses in text and links against files of your own.', {
        files: listOf(path, {
          doc: 'One address a line: "bad.example" with all names below it, or "host.example/path" with all that begins so; "#" begins a comment. Read anew at each reload.',
          default: [],
          example: ['/etc/postern/bad-urls.txt'],
        }),
        listed: choice(ACTIONS, { doc: 'When one is in a file.', default: 'reject' }),
        failure: choice(ACTIONS, { doc: 'When a file cannot be read.', default: 'ignore' }),
      }),
      url_dns: table(
        "Hosts in text and links against lists in DNS (RFC 5782). Each list is told the hosts of your customers' mail: see its terms. One that lists everything, or does not answer you, is left out.",
        {
          lists: listOf(dnsList, {
            doc: 'Zones; behind one its test point, where that is not "test": "uri.example.org test.example.org".',
            default: [],
            example: ['uri.example.org'],
          }),
          timeout: durationMs({ doc: 'For one question.', default: '2s', min: '10ms', max: '30s' }),
          deadline: durationMs({ doc: 'For one message.', default: '5s', min: '10ms', max: '5m' }),
          max_queries: integer({ doc: 'Questions for one message.', default: 20, min: 1, max: 200 }),
          listed: choice(ACTIONS, { doc: 'When a host is listed.', default: 'tag' }),
          failure: choice(ACTIONS, { doc: 'When a list is silent.', default: 'ignore' }),
        },
      ),
      rules: table('The rules of your own: see `[[rule]]`.', {
        deadline: durationMs({ doc: 'For all rules on one message.', default: '3s', min: '10ms', max: '5m' }),
        failure: choice(ACTIONS, { doc: 'When they are not done in time.', default: 'ignore' }),
      }),
      header: table('Header fields that must be there once (RFC 5322 section 3.6).', {
        missing_from: choice(ACTIONS, { doc: 'No From.', default: 'reject' }),
        duplicate_from: choice(ACTIONS, { doc: 'More than one From.', default: 'reject' }),
        missing_date: choice(ACTIONS, { doc: 'No Date. Many devices send none.', default: 'ignore' }),
        duplicate_date: choice(ACTIONS, { doc: 'More than one Date.', default: 'reject' }),
        duplicate_other: choice(ACTIONS, {
          doc: 'More than one Subject, To, Cc, Bcc, Reply-To, Sender, Message-ID, In-Reply-To or References.',
          default: 'ignore',
        }),
        date_off: optional(
          durationMs({
            doc: 'How far Date may be off, either way; without it nobody looks. Printers and cameras have no clock.',
            example: '7d',
            min: '1h',
            max: '3650d',
          }),
        ),
        far_date: choice(ACTIONS, { doc: 'It is further off.', default: 'tag' }),
        failure: choice(ACTIONS, { doc: 'When the filter fails or is late.', default: 'defer' }),
      }),
      resolver: listOf((spec) => endpoint({ ...spec, addressOnly: true }), {
        doc: 'Name servers that filters ask; none: those of the system. One on this machine that remembers answers is best.',
        default: [],
        example: ['127.0.0.1:53'],
      }),
      auth: table('SPF, DKIM, DMARC and ARC of what hosts send, as a receiver would find them. Off until "enabled".', {
        enabled: boolean({ doc: 'Whether they are looked up.', default: false }),
        deadline: durationMs({ doc: 'For one message.', default: '8s', min: '10ms', max: '5m' }),
        lookup: durationMs({ doc: 'For one question to a name server.', default: '2s', min: '10ms', max: '1m' }),
        threads: integer({ doc: 'Threads of one worker, of 40 MiB and more each.', default: 2, min: 1, max: 32 }),
        max_size: sizeBytes({
          doc: 'Of a larger message no signature is looked at.',
          default: '10MiB',
          max: '100MiB',
        }),
        spf: choice(ACTIONS, {
          doc: "The sender's domain says that this host may not send for it.",
          default: 'ignore',
        }),
        dkim: choice(ACTIONS, { doc: 'Signed, and no signature holds.', default: 'ignore' }),
        dmarc_reject: choice(ACTIONS, {
          doc: 'Neither SPF nor DKIM speaks for the author, whose domain wants such mail refused.',
          default: 'ignore',
        }),
        dmarc_quarantine: choice(ACTIONS, { doc: 'Likewise, and it wants it put aside.', default: 'ignore' }),
        author: choice(ACTIONS, { doc: 'From names no author, or authors of several domains.', default: 'ignore' }),
        unknown: choice(ACTIONS, {
          doc: 'A name server did not answer, or something was not looked at: too large, or more signatures than are worth it.',
          default: 'ignore',
        }),
        failure: choice(ACTIONS, { doc: 'When the filter fails or is late.', default: 'ignore' }),
      }),
      clamd: table('ClamAV. Off until "server" is set.', {
        server: optional(service({ doc: 'Its socket, or its address and port.', example: '/run/clamav/clamd.ctl' })),
        deadline: durationMs({ doc: 'For one message.', default: '10s', min: '10ms', max: '5m' }),
        max_concurrent: integer({
          doc: 'Messages of one worker that it is given at once; the others wait, within the deadline.',
          default: 8,
          min: 1,
          max: 100,
        }),
        max_size: sizeBytes({
          doc: 'Larger messages are not given to it. Not more than its own StreamMaxLength, MaxScanSize and MaxFileSize.',
          default: '25MiB',
          max: '2GiB',
        }),
        found: choice(ACTIONS, { doc: 'It found something.', default: 'reject' }),
        unscanned: choice(ACTIONS, {
          doc: 'Too large, or beyond limits of its own: it has not seen all of it, which is never "clean".',
          default: 'tag',
        }),
        failure: choice(ACTIONS, { doc: 'When it cannot be asked, fails or is late.', default: 'defer' }),
        failure_text: choice(ACTIONS, {
          doc: 'Likewise, and the message is plain text without attachments.',
          default: 'defer',
        }),
        stale: durationMs({
          doc: 'Age of its definitions from which on the log warns.',
          default: '24h',
          min: '1h',
          max: '365d',
        }),
      }),
      rspamd: table('Rspamd. Off until "server" is set.', {
        server: optional(service({ doc: 'Its normal worker.', example: '127.0.0.1:11333' })),
        settings_id: text({
          doc: 'The settings of Rspamd that are asked for: docs/filters.md says which they have to be.',
          default: 'postern',
          pattern: /^[a-z0-9_-]{1,64}$/i,
          type: 'a name of letters, digits, "_" and "-", at most 64',
        }),
        deadline: durationMs({ doc: 'For one message.', default: '5s', min: '10ms', max: '5m' }),
        max_concurrent: integer({
          doc: 'Messages of one worker that it is given at once; the others wait, within the deadline.',
          default: 16,
          min: 1,
          max: 100,
        }),
        max_size: sizeBytes({
          doc: 'Larger messages are not given to it. Not more than its own max_message.',
          default: '10MiB',
          max: '2GiB',
        }),
        reject: choice(ACTIONS, { doc: 'Its action is "reject", "discard" or "quarantine".', default: 'reject' }),
        probable: choice(ACTIONS, { doc: 'Its action is "add header" or "rewrite subject".', default: 'tag' }),
        soft_reject: choice(ACTIONS, { doc: 'Its action is "soft reject".', default: 'defer' }),
        greylist: choice(ACTIONS, { doc: 'Its action is "greylist".', default: 'ignore' }),
        failure: choice(ACTIONS, { doc: 'When it cannot be asked, fails or is late.', default: 'ignore' }),
      }),
    },
  ),
  journal: table('What is remembered, and how long.', {
    keep: durationMs({ doc: 'Age at which a row is deleted.', default: '32d', min: '1h', max: '3650d' }),
    max_size: sizeBytes({
      doc: 'Size of the journal at which the oldest rows are deleted.',
      default: '1GiB',
      min: '1MiB',
      max: '1024GiB',
    }),
    lines: choice(['stdout', 'none'], {
      doc: 'One JSON line for each attempt on standard output (journald) as well.',
      default: 'stdout',
    }),
  }),
  network: list(
    'A named set of prefixes with one mode and one set of settings. Prefixes of two networks may not overlap.',
    networkFields,
  ),
  subscribers: table('Where more subscribers are.', {
    directory: optional(
      path({
        doc: 'A directory whose files `*.toml` (with `[[subscriber]]`) and `*.csv` ("postern subscriber" says how) are read beside this one, at each reload too.',
        example: '/etc/postern/subscribers',
      }),
    ),
  }),
  subscriber: list(
    "A named set of prefixes inside one network, counted and limited together. What is not set here is the network's. Of prefixes that lie in one another the longest counts.",
    {
      name: text({
        doc: 'The name in log, limits and locks.',
        example: 'web-17',
        pattern: NAME,
        type: NAME_TYPE,
      }),
      prefixes: listOf(subscriberPrefix, {
        doc: 'Sources that belong to it.',
        example: ['198.51.100.17', '2001:db8:1:17::/64'],
        min: 1,
      }),
      ...inherited(networkFields, ['name', 'prefixes', 'ipv6_prefix']),
    },
    { mayBeEmpty: true },
  ),
  rule: list(
    'A rule of your own. What it says of a message is true when every pattern that stands in it matches. Patterns are RE2\'s, "(?i)" at the beginning makes one blind to case; "^" and "$" stand for ends of lines. "postern scan" tries rules on files.',
    {
      name: text({ doc: 'The name in log and journal.', example: 'lottery', pattern: NAME, type: NAME_TYPE }),
      sender: optional(
        pattern({ doc: 'On the envelope sender; the null sender is empty.', example: '@example\\.com$' }),
      ),
      recipient: optional(pattern({ doc: 'On the recipients, one a line.', example: '^info@' })),
      helo: optional(pattern({ doc: 'On the name in HELO or EHLO.', example: '^localhost$' })),
      header: optional(
        pattern({
          doc: 'On the header, one line "name: value" for each field, the name in lower case.',
          example: '(?i)^subject:.*lottery',
        }),
      ),
      body: optional(
        pattern({ doc: 'On the text that people see, 256 Ki characters of it.', example: '(?i)you have won' }),
      ),
      attachment: optional(
        pattern({
          doc: 'On the names of files, also of those in archives, one a line.',
          example: '(?i)invoice.*\\.html$',
        }),
      ),
      url: optional(
        pattern({ doc: 'On the addresses of links and in the text, one a line.', example: '^https?://[^/]+\\.zip/' }),
      ),
      action: choice(ACTIONS, { doc: 'What a message leads to of which it is true.', default: 'ignore' }),
      score: decimal({ doc: 'What it adds to the sum of scores.', default: 0.5, max: 100 }),
    },
    { mayBeEmpty: true },
  ),
  locks: table('Who may not send at present ("postern lock"), and what is said to him.', {
    management: listOf(prefix, {
      doc: 'Sources that are never locked, neither by hand nor by a rule: those from which the gateway is managed.',
      default: [],
      example: ['198.51.100.0/29'],
    }),
    text: optional(
      text({
        doc: "Told in the place of each lock's own sentence.",
        example: 'Mail from here is stopped; please call +1 555 0100',
        pattern: /^[\x20-\x5a\x5c\x5e-\x7e]{5,120}$/,
        type: 'a text of 5 to 120 characters of ASCII without "[" and "]"',
      }),
    ),
  }),
  lock_rule: list(
    'An automatic lock: so many attempts of some classes in some time. Only what came over an accepted connection counts, and nothing in mode "observe".',
    {
      name: text({ doc: 'Stands in the reason.', example: 'spam-run', pattern: NAME, type: NAME_TYPE }),
      classes: listOf(className, {
        doc: 'Of which attempts: "spam" is all of spam.*; "postern classes" lists them.',
        example: ['spam', 'limit.unknown'],
        min: 1,
      }),
      count: integer({ doc: 'How many.', example: 3, min: 1, max: 100000 }),
      within: durationMs({ doc: 'In which time.', example: '10m', min: '1s', max: '7d' }),
      lock: choice(['identity', 'subscriber'], {
        doc: 'Whom: "identity" is who it is behind the subscriber, and the subscriber itself only where no rule finds one.',
        default: 'identity',
      }),
      how: choice(['reject', 'defer', 'kernel'], {
        doc: 'As "postern lock --how". An identity that is to be locked in the kernel is rejected.',
        default: 'reject',
      }),
      for: durationMs({ doc: 'How long.', default: '30m', min: '1s', max: '365d' }),
      unlocks: integer({
        doc: 'How often in unlock_period such a lock ends by itself; the next one stays until "postern unlock".',
        default: 1,
        min: 0,
        max: 1000,
      }),
      unlock_period: durationMs({ doc: 'See unlocks.', default: '7d', min: '1m', max: '365d' }),
      networks: listOf(text, { doc: 'Only of these networks; none is all.', default: [], example: ['customers'] }),
    },
    { mayBeEmpty: true },
  ),
  panel: table('The page and the API for people.', {
    listen: endpoint({
      doc: 'Where the keeper will serve it. Nothing is served there yet.',
      default: '127.0.0.1:8025',
      addressOnly: true,
    }),
  }),
  metrics: table('For Prometheus.', {
    listen: endpoint({ doc: 'Where the keeper serves /metrics.', default: '127.0.0.1:9125', addressOnly: true }),
  }),
});

type Loaded = Infer<typeof schema.fields>;

/** The effective configuration: every default filled in, durations in ms, sizes in bytes, `workers` a number. */
export type Config = Omit<Loaded, 'gateway' | 'subscriber'> & {
  readonly gateway: Omit<Loaded['gateway'], 'workers'> & { readonly workers: number };
  readonly subscriber: readonly Subscriber[];
};
export type Network = Config['network'][number];

/** Where it was read: the file, and the line of a key or of the whole. */
export type Place = { readonly file: string; readonly line: number; readonly keyLine?: (key: string) => number };

/** Only what is set stands in it: there may be 100,000. */
export type Subscriber = Pick<Loaded['subscriber'][number], 'name' | 'prefixes'> &
  Partial<Omit<Loaded['subscriber'][number], 'name' | 'prefixes'>> & { readonly place: Place };
