/** The settings that hosters know from the form of an outgoing user, and where each of them is here, or why it is not. */

/** In backticks a key of this file, with its table. */
export const ELSEWHERE: readonly (readonly [setting: string, here: string])[] = [
  ['user name, password', 'none: a host is known by its address, and what it sends is not changed'],
  ['identification method: sender, authenticated user, header', '`network.identity`, the first rule that finds one'],
  [
    'automatic lock',
    '`lock_rule.classes`, `lock_rule.count`, `lock_rule.within`, with `lock_rule.lock` = "subscriber"',
  ],
  ['automatic lock of identities', 'the same with `lock_rule.lock` = "identity"'],
  ['lock timeout', '`lock_rule.for`'],
  [
    'maximum unlocks by timeout',
    '`lock_rule.unlocks` in `lock_rule.unlock_period`; a lock by hand ends by hand, or when `postern lock --for` says',
  ],
  ['lock notice template', '`reports.lock_notice` is mailed to the contact; `locks.text` is what the host is told'],
  [
    'connection limits, on or off',
    '`network.max_connections` at a time and `network.limit_connections` in a period; none is off',
  ],
  [
    'limit per month, week, day, hour, minute',
    '`network.limit_connections`, `network.limit_messages`, `network.limit_recipients`, `network.limit_bytes`, an element for each period',
  ],
  [
    'valid sender required',
    '`network.senders` lists those that are allowed. None that asks: the server that takes the mail judges, and its reply is passed on',
  ],
  ['DKIM selector', 'none: messages go on as they came, with the signatures that they have'],
  [
    'maximum recipients a day',
    '`network.limit_recipients` with "/day"; `network.quota` = "earned" lets it grow by itself',
  ],
  ['invalid recipient limit', '`network.limit_unknown`'],
  ['maximum days to retry', 'none: there is no queue; the host hears the far side and tries again itself'],
  [
    'quarantine response',
    'none that accepts what is held back: who is told 250 has been delivered. Refused is refused, with a reason',
  ],
  ['excessive messages per connection', '`network.messages_per_connection`, then 421'],
  [
    'locked-identity response code',
    '`lock_rule.how`: 550 or 451, with `locks.text`. None that says 250 and drops: a sender is never misled',
  ],
  ['re-authentication', 'none: a sender does not become another subscriber; `network.identity` counts it apart'],
  ['message archiving', 'none: content is not stored'],
  [
    'administrative contact, report recipient',
    '`network.contact`, `tenant.contact`, `reports.contact`; `network.report` says what they are sent',
  ],
  ['maximum bounces', '`network.bounce_recipients` for one message with the null sender'],
  ['attachment rules', '`filters.attachments.executable` and its neighbours'],
  ['size limit', '`limits.message_size`'],
  ['TLS', '`tls.require_from`, `tls.require_to`, `smarthost.tls`'],
];
