/**
 * The closed table of classes: main.sub -> what the sender is told, whether a retry helps, whether a copy may be kept.
 *
 * Replies, log, journal, metric labels, `postern explain` and docs/classes.md are all read from here, so a class that
 * is not in this table cannot occur anywhere. 5xx stands only where a retry cannot help.
 */
export type ClassEntry = {
  readonly code: number;
  /** RFC 3463 subject.detail; the first digit follows from the code */
  readonly detail: string;
  /** one sentence for the sender, ASCII, at most 120 characters */
  readonly text: string;
  /** for the operator: when this happens and, where it is not plain, what to do */
  readonly doc: string;
  /**
   * A copy may be kept for a person to look at and to let go: where a filter judged a whole message and may be wrong.
   * Never what does harm when it is let go (virus.*), nor what cannot be carried anyway.
   */
  readonly quarantine?: true;
};

export const classes = {
  'accepted.clean': {
    code: 250,
    detail: '0.0',
    text: 'Accepted',
    doc: 'The far side has the message; its reply was passed on.',
  },
  'accepted.tagged': {
    code: 250,
    detail: '0.0',
    text: 'Accepted',
    doc: 'A finding whose action is "tag", or the network\'s score_tag: the far side has the message, with a line X-Postern-Tag above our Received line for each class. Such a line below it is not ours.',
  },
  'accepted.observed': {
    code: 250,
    detail: '0.0',
    text: 'Accepted',
    doc: 'Network in mode "observe": a filter or rule would have refused this; the class that would have been is in the record. Look through these before the mode becomes "enforce".',
  },

  'protocol.syntax': {
    code: 500,
    detail: '5.2',
    text: 'Command not recognised',
    doc: 'The line is no command of RFC 5321: a faulty program or a probe. Nothing to do unless mail is missing; then the sending program is to be mended.',
  },
  'protocol.argument': {
    code: 501,
    detail: '5.4',
    text: 'Syntax error in the argument',
    doc: 'The verb is known, its argument is not well formed. To be mended in the sending program.',
  },
  'protocol.parameter': {
    code: 555,
    detail: '5.4',
    text: 'Parameter not recognised or not offered',
    doc: 'MAIL or RCPT carries a parameter that EHLO did not offer, or a bad value. To be mended in the sending program.',
  },
  'protocol.not-offered': {
    code: 502,
    detail: '5.1',
    text: 'Command not offered here',
    doc: 'A command of RFC 5321 or an extension that EHLO did not offer. Nothing to do: a program that goes by the reply to EHLO does without.',
  },
  'protocol.sequence': {
    code: 503,
    detail: '5.1',
    text: 'Command out of sequence',
    doc: 'For example RCPT before MAIL, DATA without a recipient, MAIL before EHLO. To be mended in the sending program.',
  },
  'protocol.line-end': {
    code: 500,
    detail: '5.2',
    text: 'Commands end in CRLF; a bare CR, bare LF or NUL is not accepted',
    doc: 'The host sends line ends that RFC 5321 section 2.3.8 forbids; repairing them would allow SMTP smuggling. To be mended in the sending program.',
  },
  'protocol.line-length': {
    code: 500,
    detail: '5.2',
    text: 'Command line longer than 2048 octets',
    doc: 'The connection is closed, since the rest of the line cannot be told from a command. To be mended in the sending program.',
  },
  'protocol.bdat': {
    code: 503,
    detail: '5.1',
    text: 'CHUNKING was not offered',
    doc: 'BDAT without the offer; the connection is closed, since its payload would be read as commands. To be mended in the sending program.',
  },
  'protocol.other': {
    code: 421,
    detail: '5.1',
    text: 'This is SMTP',
    doc: 'HTTP or TLS on a plain port 25: a program with a wrong port, or a host that is misused. See what else it does: postern log --source ADDRESS.',
  },
  'protocol.errors': {
    code: 421,
    detail: '7.0',
    text: 'Too many refused commands in this session',
    doc: 'limits.errors refused commands were reached: a faulty program, or one that guesses recipients. Look at the host with postern log --source ADDRESS, and lock it if it guesses.',
  },
  'protocol.auth': {
    code: 502,
    detail: '7.0',
    text: 'Authentication is not offered on port 25; use port 587',
    doc: 'The host tries AUTH on an intercepted connection. Its user has to set port 587 in the mail program.',
  },

  'tls.pipelined': {
    code: 503,
    detail: '5.1',
    text: 'Nothing may follow STARTTLS before the TLS handshake',
    doc: 'Commands came together with STARTTLS. Run after the handshake they would pass for commands inside TLS, so the connection is closed. A faulty program, or somebody between the host and here.',
  },
  'tls.handshake': {
    code: 421,
    detail: '7.0',
    text: 'The TLS handshake failed',
    doc: 'After STARTTLS the host broke off, took too long, or sent something that is no TLS of version 1.2 or later. The reply column says which; a host that only fails so has old software.',
  },
  'tls.required': {
    code: 451,
    detail: '7.10',
    text: 'Mail of this sender is taken over TLS only; use STARTTLS',
    doc: 'tls.require_from names the sender, and its host came in clear. Switch on TLS in the mail server there; if it was not offered, the far side has none at present.',
  },
  'tls.alone': {
    code: 451,
    detail: '7.10',
    text: 'This recipient needs TLS all the way; send to it in a message of its own',
    doc: 'tls.require_to names the recipient, and those before it in the same message do not need TLS. The mail server sends to it again by itself, and then alone.',
  },
  'tls.client-refused': {
    code: 421,
    detail: '7.0',
    text: 'The host did not accept our certificate',
    doc: 'The host verifies whom it sends to, and was shown the certificate of the gateway. The reply column says how it went: certificate, by an alert in the handshake; left, by a close in it; quit or closed, right after it and without a word inside TLS. Give it the authority (postern ca), or except its destination from interception.',
  },
  'tls.opaque': {
    code: 250,
    detail: '0.0',
    text: 'Carried end to end',
    doc: 'A connection of a host that verifies, carried unread to the server that it called (setting "verifying"). The row has its octets; what was in it nobody here knows. "postern verifying" lists such hosts, "postern top" their share.',
  },
  'tls.verifying': {
    code: 421,
    detail: '7.5',
    text: 'This gateway looks at mail, and your server does not accept its certificate; ask your network provider',
    doc: 'verifying = "refuse": the host did not accept our certificate before, for the server that it calls. Give it the authority (postern ca), except its destination from interception, or set "pass".',
  },
  'tls.clear': {
    code: 421,
    detail: '7.5',
    text: 'Only TLS is carried unread; try again',
    doc: 'A host that had refused our certificate was let through unread, and began a message in clear. The connection was cut off before the server had the command, and the next one is intercepted. It may only pretend to verify: look at it with postern log --source ADDRESS.',
  },

  'body.line-end': {
    code: 554,
    detail: '6.0',
    text: 'The message has a bare CR or bare LF; lines end in CRLF',
    doc: 'RFC 5321 section 2.3.8. Never repaired: two servers that repair differently disagree where a message ends. To be mended in the sending program.',
  },
  'body.nul': {
    code: 554,
    detail: '6.0',
    text: 'The message has a NUL octet',
    doc: 'RFC 5322 section 4; binary content needs an encoding. To be mended in the sending program.',
  },
  'body.line-length': {
    code: 554,
    detail: '6.0',
    text: 'The message has a line longer than this gateway carries',
    doc: 'Longer than limits.body_line; RFC 5321 section 4.5.3.1.6 says 998 octets. To be mended in the sending program.',
  },
  'body.size': {
    code: 552,
    detail: '3.4',
    text: 'The message is larger than this gateway carries',
    doc: 'Larger than limits.message_size, or than the smarthost announces. Raise both if such mail is wanted.',
  },
  'body.loop': {
    code: 554,
    detail: '4.6',
    text: 'The message has passed too many servers: a loop',
    doc: "limits.received Received lines, or this gateway's own line twice: something sends mail back that has been here. The message's Received lines name it.",
  },
  'body.8bit': {
    code: 554,
    detail: '6.3',
    text: 'The far side does not carry 8BITMIME',
    doc: 'No configured server has ever offered 8BITMIME. Switch it on there.',
  },
  'body.smtputf8': {
    code: 550,
    detail: '6.7',
    text: 'The far side does not carry SMTPUTF8',
    doc: 'No configured server has ever offered SMTPUTF8. Switch it on there if such addresses are wanted.',
  },

  'header.from-missing': {
    code: 550,
    detail: '6.0',
    text: 'The message has no From field',
    doc: 'RFC 5322 section 3.6 asks for exactly one. To be mended in the sending program; filters.header.missing_from = "ignore" lets it pass.',
  },
  'header.from-duplicate': {
    code: 550,
    detail: '6.0',
    text: 'The message has more than one From field',
    doc: 'Readers show different ones; RFC 5322 section 3.6 allows one. To be mended in the sending program; filters.header.duplicate_from = "ignore" lets it pass.',
  },
  'header.date-missing': {
    code: 550,
    detail: '6.0',
    text: 'The message has no Date field',
    doc: 'RFC 5322 section 3.6 asks for exactly one. To be mended in the sending program; filters.header.missing_date = "ignore" lets it pass.',
  },
  'header.date-duplicate': {
    code: 550,
    detail: '6.0',
    text: 'The message has more than one Date field',
    doc: 'RFC 5322 section 3.6 allows one. To be mended in the sending program; filters.header.duplicate_date = "ignore" lets it pass.',
  },
  'header.date-far': {
    code: 550,
    detail: '6.0',
    text: 'The Date of the message is far off',
    doc: 'Further from our clock than filters.header.date_off. Old mail that is sent again has it, and machines whose clock is wrong.',
  },
  'header.duplicate': {
    code: 550,
    detail: '6.0',
    text: 'A field of the header stands there twice that may stand once',
    doc: 'Subject, To, Cc, Bcc, Reply-To, Sender, Message-ID, In-Reply-To or References (RFC 5322 section 3.6); the evidence says which. Readers show different ones. filters.header.duplicate_other says what it leads to.',
  },
  'spam.gtube': {
    code: 550,
    detail: '7.1',
    text: 'The message has the test string for spam filters',
    doc: 'GTUBE: somebody tests the filter. It works; nothing to do.',
    quarantine: true,
  },
  'spam.url': {
    code: 550,
    detail: '7.1',
    text: 'The message has an address of a host that is known for abuse',
    doc: 'In a file of filters.urls.files or a list of filters.url_dns.lists; the finding says which, and by what line. Wrong ones are to be taken off there.',
    quarantine: true,
  },
  'spam.rule': {
    code: 550,
    detail: '7.1',
    text: 'The message is of a kind that is not carried from here',
    doc: 'A rule of your own (`[[rule]]`) is true of it and has the action "reject" or "defer". The finding in the record has the rule\'s name.',
    quarantine: true,
  },
  'spam.campaign': {
    code: 550,
    detail: '7.1',
    text: 'Mails like this one come from many hosts at once',
    doc: 'Looked alike, from filters.campaign.subscribers different subscribers within the window: a botnet, or a program that many use. The finding says how many; postern log --class spam.campaign shows them.',
    quarantine: true,
  },
  'spam.score': {
    code: 550,
    detail: '7.1',
    text: 'The message looks like spam',
    doc: "The scores of all findings come to the network's score_reject or score_defer. postern explain ID lists them.",
    quarantine: true,
  },
  'spam.rspamd': {
    code: 550,
    detail: '7.1',
    text: 'The message looks like spam',
    doc: 'The action of Rspamd is "reject", "discard" or "quarantine". postern explain ID lists its symbols.',
    quarantine: true,
  },
  'spam.rspamd-probable': {
    code: 550,
    detail: '7.1',
    text: 'The message may be spam',
    doc: 'The action of Rspamd is "add header" or "rewrite subject". postern explain ID lists its symbols.',
    quarantine: true,
  },
  'spam.rspamd-soft': {
    code: 451,
    detail: '7.1',
    text: 'The message cannot be taken just now; try again',
    doc: 'The action of Rspamd is "soft reject": mostly one of its own rate limits. postern explain ID lists its symbols.',
  },
  'spam.rspamd-greylist': {
    code: 451,
    detail: '7.1',
    text: 'The message cannot be taken just now; try again later',
    doc: 'The action of Rspamd is "greylist". Hosts behind an interception come again whoever they are: filters.rspamd.greylist is better left at "ignore".',
  },

  'auth.spf': {
    code: 550,
    detail: '7.23',
    text: "The sender's domain does not let this host send for it (SPF)",
    doc: 'SPF fail for the host\'s own address. With egress "smarthost" receivers see another one: the domain\'s record has to name that.',
  },
  'auth.dkim': {
    code: 550,
    detail: '7.20',
    text: 'No DKIM signature of the message holds',
    doc: 'It is signed and was changed since, or the key cannot be found. The evidence names it. Forwarders and lists change what was signed.',
    quarantine: true,
  },
  'auth.dmarc-reject': {
    code: 550,
    detail: '7.1',
    text: 'The author of the message is not who it says (DMARC)',
    doc: 'Neither SPF nor DKIM speaks for the domain in From, which publishes p=reject. Receivers will refuse it, too. Forwarders and lists break it as well as forgers do.',
    quarantine: true,
  },
  'auth.dmarc-quarantine': {
    code: 550,
    detail: '7.1',
    text: 'The author of the message may not be who it says (DMARC)',
    doc: 'Likewise, with p=quarantine.',
    quarantine: true,
  },
  'auth.author': {
    code: 550,
    detail: '6.0',
    text: 'The message names no author, or authors of several domains',
    doc: 'DMARC cannot be looked up for it (RFC 9989 section 5.3.1), which is how it is got round.',
    quarantine: true,
  },
  'auth.unknown': {
    code: 451,
    detail: '7.24',
    text: 'The author of the message could not be looked up just now; try again',
    doc: 'A name server did not answer in time, or something was not looked at: the evidence says which. Of many messages at once: see filters.resolver.',
  },

  'content.size': {
    code: 554,
    detail: '7.0',
    text: 'The message is too large to be looked at',
    doc: 'Larger than filters.content.max_size, and filters.content.size is not "ignore". Raise the limit if such mail is wanted; each thread needs that much memory.',
  },
  'content.parts': {
    code: 554,
    detail: '6.0',
    text: 'The message has too many parts',
    doc: 'More than filters.content.max_parts: no program makes that many, but some attack readers with them.',
  },
  'content.depth': {
    code: 554,
    detail: '6.0',
    text: 'The message has parts in parts, too deep',
    doc: 'More than filters.content.max_depth multiparts and messages in one another. Mail that was forwarded over and over may have some; not fifty.',
  },
  'content.header': {
    code: 554,
    detail: '6.0',
    text: 'The message has a header that is too long',
    doc: 'More than filters.content.max_fields fields, or larger than max_header; of the message or of one of its parts.',
  },
  'content.ambiguous': {
    code: 550,
    detail: '6.0',
    text: 'A part of the message says twice what it is',
    doc: 'Two Content-Type, Content-Disposition or Content-Transfer-Encoding fields: readers differ in which they take, so a filter may see another file than the reader. To be mended in the sending program.',
    quarantine: true,
  },
  'content.partial': {
    code: 554,
    detail: '6.0',
    text: 'A piece of a message is not carried; send it whole',
    doc: 'message/partial (RFC 2046 section 5.2.2): no filter sees the whole of it. To be sent in one message.',
  },
  'attachment.executable': {
    code: 550,
    detail: '7.1',
    text: 'The message has a file that runs; put it elsewhere and send the address',
    doc: 'A file, maybe in an archive, whose name ends like that of a program or that is one. The evidence names it. filters.attachments.extensions lists the endings.',
    quarantine: true,
  },
  'attachment.disguised': {
    code: 550,
    detail: '7.1',
    text: 'The message has a program under the name of something else',
    doc: 'What calls itself a picture or a document is a program by its first octets. The host is likely misused: look at it.',
    quarantine: true,
  },
  'attachment.macro': {
    code: 550,
    detail: '7.1',
    text: 'The message has an Office file with macros',
    doc: "Found by the file's directory, not by its name. Offices send such files to one another; filters.attachments.macro says what they lead to.",
    quarantine: true,
  },
  'attachment.encrypted': {
    code: 550,
    detail: '7.1',
    text: 'The message has an archive that needs a password',
    doc: 'Nobody can look into it, which is why malware comes that way, and confidential papers too. filters.attachments.encrypted says what it leads to.',
    quarantine: true,
  },
  'attachment.limits': {
    code: 554,
    detail: '7.1',
    text: 'The message has an archive that is too large or too deep',
    doc: 'It would unpack to more than filters look at: archives in archives in archives, more than 10,000 entries, or more than a hundred times its size.',
    quarantine: true,
  },
  'attachment.unread': {
    code: 550,
    detail: '7.1',
    text: 'The message has an archive of a kind that is not carried',
    doc: 'An archive that is not looked into (xz, cab, disk images, an archive in a rar or 7z file) or is damaged, and filters.attachments.unread is not "ignore".',
    quarantine: true,
  },
  'virus.found': {
    code: 554,
    detail: '7.1',
    text: 'The message has a virus, or something else that does harm',
    doc: 'ClamAV found it; the finding has its name. Look at the host with postern log --source ADDRESS, and lock it if there is more. A name that begins with Heuristics is a guess.',
  },
  'virus.unscanned': {
    code: 554,
    detail: '7.1',
    text: 'The message is too large or too deep to be looked at for viruses',
    doc: 'Over filters.clamd.max_size, or beyond limits of ClamAV itself (archives in archives, many files, or much to unpack). Raise both if such mail is wanted.',
  },

  'behaviour.helo': {
    code: 450,
    detail: '7.1',
    text: 'This source has greeted with too many names',
    doc: 'filters.behaviour.max_helos names within the window: a program that forges them, or many hosts behind one address.',
  },
  'behaviour.senders': {
    code: 450,
    detail: '7.1',
    text: 'This source sends for too many domains',
    doc: 'filters.behaviour.max_sender_domains within the window. A web server with many customers does; raise it there.',
  },
  'behaviour.recipients': {
    code: 450,
    detail: '7.1',
    text: 'This source sends to too many recipients',
    doc: 'filters.behaviour.max_recipients within the window. A newsletter does; it is better known by a limit of its own.',
  },
  'behaviour.unknown': {
    code: 450,
    detail: '7.1',
    text: 'Too many recipients of this source do not exist',
    doc: 'filters.behaviour.max_unknown percent: a bought or guessed list, or an address book of years ago.',
  },
  'behaviour.first': {
    code: 450,
    detail: '7.1',
    text: 'This source has not sent before; try again',
    doc: 'The first mail that the keeper has seen from it, and filters.behaviour.first is not "ignore".',
  },
  'behaviour.early': {
    code: 450,
    detail: '7.1',
    text: 'This source spoke before it was greeted',
    doc: 'RFC 5321 section 3.1: a host waits for the banner. Programs that send to as many as they can do not.',
  },

  'limit.connections': {
    code: 421,
    detail: '7.0',
    text: 'Too many connections from this source at once',
    doc: 'max_connections of the network is reached for this source (IPv6: its /64). Raise it for a busy mail server; otherwise see what the host does: postern log --source ADDRESS.',
  },
  'limit.connection-rate': {
    code: 421,
    detail: '7.0',
    text: 'Too many connections from this source in a short time',
    doc: 'limit_connections is reached. "postern limits ADDRESS" shows every count of the source and when it ends; raise the limit for a busy mail server.',
  },
  'limit.opaque': {
    code: 421,
    detail: '7.0',
    text: 'Too much goes past this gateway from a server that does not accept its certificate',
    doc: 'opaque_connections, limit_opaque or limit_opaque_bytes is reached: what is carried unread for a host that verifies is bounded. "postern limits ADDRESS" shows the counts. For a busy mail server give it the authority (postern ca), so that nothing has to be carried unread, or raise the limits.',
  },
  'limit.messages': {
    code: 451,
    detail: '7.1',
    text: 'Too many messages from this source',
    doc: 'limit_messages is reached; "postern limits ADDRESS" shows by how much. Of a host that never sends much: look what it sends before raising the limit.',
  },
  'limit.recipient-rate': {
    code: 451,
    detail: '7.1',
    text: 'Too many recipients from this source',
    doc: 'limit_recipients is reached; "postern limits ADDRESS" shows by how much. Raise it for lists, or look what the host sends.',
  },
  'limit.bytes': {
    code: 451,
    detail: '7.1',
    text: 'Too much mail from this source',
    doc: 'limit_bytes is reached, or this one message is larger than what is left of it: then a retry helps only in the next period.',
  },
  'limit.domains': {
    code: 451,
    detail: '7.1',
    text: 'Mail to too many different domains from this source',
    doc: 'limit_domains is reached: a host that writes to ever more domains is a list server or sends spam. Domains that it has written to in this period go on.',
  },
  'limit.senders': {
    code: 451,
    detail: '7.1',
    text: 'Too many different sender addresses from this source',
    doc: 'limit_senders is reached: a forwarding server, or a program that makes its senders up. Senders of this period go on.',
  },
  'limit.unknown': {
    code: 451,
    detail: '7.1',
    text: 'Too many unknown recipients from this source',
    doc: 'limit_unknown is reached: the far side did not know so many of the recipients. An old list, or guessing: look at the host before it harms the reputation of its neighbours.',
  },
  'limit.session': {
    code: 421,
    detail: '7.0',
    text: 'Enough messages over this connection; send the rest over another',
    doc: 'messages_per_connection is reached. A mail server goes on with another connection by itself.',
  },
  'limit.recipients': {
    code: 452,
    detail: '5.3',
    text: 'Too many recipients in one message; send the rest in another',
    doc: 'One message has more than limits.recipients. A mail server sends the rest in another by itself; raise the limit only for programs that cannot.',
  },
  'limit.memory': {
    code: 452,
    detail: '3.1',
    text: 'No room for the message just now; try again',
    doc: 'limits.body_total is in use; it frees itself as messages pass. If it stays, the smarthost is too slow for what comes in, or the limit too low.',
  },
  'limit.descriptors': {
    code: 421,
    detail: '3.2',
    text: 'The gateway is full; try again',
    doc: 'Descriptors at 80 % of the limit. Add workers or raise LimitNOFILE.',
  },
  'limit.time': {
    code: 421,
    detail: '4.2',
    text: 'Too slow; closing the connection',
    doc: 'A command, a body or the reading of our replies took longer than the configured deadline (limits.*_timeout, data_rate). Of one host: its line or program; of many: look at the network and the load here.',
  },

  'locked.subscriber': {
    code: 550,
    detail: '7.1',
    text: 'This source may not send mail at present',
    doc: 'Locked by hand with how = "reject". "postern locks" shows by whom and why, "postern unlock" ends it.',
  },
  'locked.identity': {
    code: 550,
    detail: '7.1',
    text: 'This sender may not send mail at present',
    doc: 'The identity behind the source is locked, and not the source: other users of the same server go on. Told after the message, where it is known who it is; with how = "defer" the code is 451. "postern locks" shows by whom and why.',
  },
  'locked.deferred': {
    code: 450,
    detail: '7.1',
    text: 'This source may not send mail at present',
    doc: 'Locked by hand with how = "defer". "postern locks" shows by whom and why, "postern unlock" ends it.',
  },
  'sender.not-permitted': {
    code: 550,
    detail: '7.1',
    text: 'This sender address may not be used from here',
    doc: "The address of MAIL is in none of the subscriber's senders. Add it there if it is the customer's own; otherwise his program forges it.",
  },
  'sender.bounce': {
    code: 550,
    detail: '7.1',
    text: 'A message with the null sender goes to one recipient',
    doc: 'A bounce has one recipient: whoever caused it. More than bounce_recipients of them are spam that hides its sender, or a faulty program.',
  },
  'network.none': {
    code: 554,
    detail: '7.1',
    text: 'Port 25 is closed for this source',
    doc: 'The connection reached a worker, but its source is in no network; the kernel refuses these before. Add its prefix to a network if it is to send.',
  },
  'network.block': {
    code: 554,
    detail: '7.1',
    text: 'Port 25 is closed for this source',
    doc: 'Mode "block": the kernel refuses these before a worker sees them, but for connections from before a change. Nothing to do, if the mode is meant.',
  },
  'network.smarthost-only': {
    code: 554,
    detail: '7.1',
    text: 'Port 25 is closed for this source; use port 587',
    doc: 'Mode "smarthost-only": the kernel refuses these before, likewise. The user has to set port 587 in the mail program.',
  },

  'upstream.down': {
    code: 451,
    detail: '4.1',
    text: 'The next server cannot be reached; try again',
    doc: 'No configured server takes a connection. "postern status" shows each with its reason; mail waits at the hosts.',
  },
  'upstream.timeout': {
    code: 451,
    detail: '4.2',
    text: 'The next server is too slow; try again',
    doc: 'A reply did not come within its deadline (smarthost.reply_timeout, final_timeout). Look at the load of the smarthost.',
  },
  'upstream.lost': {
    code: 451,
    detail: '4.2',
    text: 'The connection to the next server broke; try again',
    doc: 'It closed or reset. After the final dot the message may have arrived: a retry can duplicate it. If it goes on, look at the log of the smarthost.',
  },
  'upstream.garbage': {
    code: 451,
    detail: '5.0',
    text: 'The next server answered with something that is no reply; try again',
    doc: 'The connection is closed and never reused. Check that every one of smarthost.servers is an SMTP server on that port.',
  },
  'upstream.tls': {
    code: 451,
    detail: '7.5',
    text: 'The next server offers no TLS that can be verified; try again',
    doc: "No STARTTLS, or a certificate that does not check out; the log's upstream.down line has the reason. Mend it there, or set smarthost.ca_file.",
  },
  'upstream.dane': {
    code: 451,
    detail: '7.5',
    text: "The next server is not the one that the recipient's domain vouches for with DANE; try again",
    doc: 'RFC 7672: the domain has TLSA records for this server, and it offers no TLS or shows another certificate. Somebody may stand between, or its operator has changed one and not the other. Nothing to do here.',
  },
  'upstream.mta-sts': {
    code: 451,
    detail: '7.5',
    text: "The next server is not as the recipient's domain demands with MTA-STS; try again",
    doc: 'RFC 8461, mode "enforce": the server is not named in the policy, offers no TLS, or its certificate does not check out. Somebody may stand between, or its operator has made a mistake. Nothing to do here.',
  },
  'upstream.dns': {
    code: 451,
    detail: '4.3',
    text: 'It cannot be looked up whether the next server is the right one; try again',
    doc: 'preserve.lookup_failure = "defer": the resolver did not answer in time, or its answer was not true (SERVFAIL is what DNSSEC makes of a forged one). One domain: its zone is broken. All: look at preserve.resolver.',
  },
  'upstream.clear': {
    code: 451,
    detail: '7.4',
    text: 'This message needs TLS and the next server takes it in clear only; try again',
    doc: 'It came in encrypted, so it never goes on in clear, or tls.require_to names a recipient. The server offers no TLS, or does not any more: see what has changed there. A link that needs none: smarthost.trusted_link.',
  },
  'upstream.auth': {
    code: 451,
    detail: '7.0',
    text: 'The next server does not accept this gateway; try again',
    doc: 'SMTP AUTH failed: check smarthost.username and password_file.',
  },
  'upstream.changed': {
    code: 451,
    detail: '4.5',
    text: 'The next server changed its mind about a recipient; try again',
    doc: "The envelope was repeated and a recipient's answer differed: never a partial delivery. If it is frequent, see in the smarthost's log why its answers change.",
  },
  'upstream.extension': {
    code: 451,
    detail: '3.3',
    text: 'The server now in use lacks an extension this message needs; try again',
    doc: 'Another configured server had it when EHLO was answered. Let all of smarthost.servers offer the same.',
  },
  'upstream.reply': {
    code: 451,
    detail: '0.0',
    text: 'The next server refused',
    doc: "The far side refused; its own reply was passed on as it came, and says why. Only the smarthost's operator can change it.",
  },
  'upstream.none-yet': {
    code: 421,
    detail: '4.1',
    text: 'No server to hand mail to has been reached yet; try again',
    doc: 'Since the start no configured server has answered; what could be offered is unknown. "postern status" shows each with its reason: check address, TLS and credentials.',
  },

  'session.no-message': {
    code: 250,
    detail: '0.0',
    text: 'No message was sent',
    doc: 'RSET or QUIT after recipients were asked about: a callout or a probe. Nothing to do.',
  },
  'session.gone': {
    code: 421,
    detail: '4.2',
    text: 'The client closed the connection',
    doc: 'The host went away before the transaction ended. Nothing to do about a few; of many hosts at once: the smarthost or the way to it is slow.',
  },
  'session.shutdown': {
    code: 421,
    detail: '3.2',
    text: 'The gateway is restarting; try again',
    doc: 'SIGTERM: sessions that outlast gateway.drain end so. Nothing to do: the sender comes again.',
  },
  'error.internal': {
    code: 451,
    detail: '3.0',
    text: 'A fault in the gateway; try again',
    doc: 'A defect. The log has the id and the error; please report it with both.',
  },
  'error.filter': {
    code: 451,
    detail: '7.1',
    text: 'The message could not be checked just now; try again',
    doc: 'A filter failed or was late, and its "failure" says "defer" or "reject". The log\'s filter-failed line says which and why; filters.deadline is its time.',
  },
  'error.certificate': {
    code: 421,
    detail: '3.0',
    text: 'The gateway has no certificate to show just now; try again',
    doc: 'The far side offers TLS, so a host must be offered it, and the worker has neither a certificate nor what to make one with. The keeper makes that in run_dir/issuer when it starts: see its log.',
  },
  'error.keeper': {
    code: 421,
    detail: '3.0',
    text: 'The gateway cannot count just now; try again',
    doc: 'The keeper is out of reach and gateway.keeper_failure is "defer". It is started again by itself; if this goes on, its last lines in the log say why.',
  },
} as const satisfies Readonly<Record<string, ClassEntry>>;

export type Class = keyof typeof classes;

export function isClass(text: string): text is Class {
  return Object.hasOwn(classes, text);
}

export function entryOf(of: Class): ClassEntry {
  return classes[of];
}

/** A code of three digits as the first digit of RFC 3463 has it, with the detail: `5.7.1`. */
export function enhancedCode(code: number, { detail }: ClassEntry): string {
  return `${Math.floor(code / 100)}.${detail}`;
}

/** Where a person reads what it means; `helpUrl` is the configuration's. */
export function classUrl(of: Class, helpUrl: string): string {
  return `${helpUrl}${of}`;
}

/** Whether the sender tries again by itself, and may get through. */
export function retryHelps({ code }: ClassEntry): boolean {
  return code >= 400 && code < 500;
}
