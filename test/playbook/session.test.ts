import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { noCapabilities } from '../../src/smtp/capabilities.ts';
import { newSession, play } from './playbook.ts';

const HELLO = `
  > !open
  < 220 gw1.example.net ESMTP Postern
  > EHLO a.example
  < 250-gw1.example.net
  < 250-PIPELINING
  < 250-SIZE 500000
  < 250-8BITMIME
  < 250-SMTPUTF8
  < 250-DSN
  < 250 ENHANCEDSTATUSCODES
`;
const ENVELOPE = `${HELLO}
  > MAIL FROM:<a@a.example>
  < !begin <a@a.example>
  < 250 2.1.0 Sender accepted
  > RCPT TO:<b@b.example>
  < !rcpt <b@b.example>
  > !rcpt 0 250
  < 250 far
`;

describe('a session', () => {
  test('one message', () => {
    play(`${ENVELOPE}
      > DATA
      < 354 End data with <CR><LF>.<CR><LF>
      < !body
      > !outcome 250
      < !end accepted.clean
      < 250 far
      > QUIT
      < 221 2.0.0 gw1.example.net closing
      < !close`);
  });

  test('recipients are asked side by side and answered in the order asked; what follows waits', () => {
    const session = newSession();
    play(
      `${HELLO}
      > MAIL FROM:<>
      < !begin <>
      < 250 2.1.0 Sender accepted
      > RCPT TO:<b@b.example>
      < !rcpt <b@b.example>
      > RCPT TO:<c@c.example> NOTIFY=NEVER
      < !rcpt <c@c.example> NOTIFY=NEVER
      > DATA
      > !rcpt 1 550
      > !rcpt 0 250
      < 250 far
      < 550 far
      < 354 *
      < !body`,
      session,
    );
    assert.equal(session.wants, 'outcome');
  });

  test('the far side is not asked for more than 200 recipients at once', () => {
    const session = newSession({ maxRecipients: 1000 });
    play(`${HELLO}\n> MAIL FROM:<a@a.example>\n< !begin <a@a.example>\n< 250 *`, session);
    for (let i = 0; i < 200; i++) {
      assert.equal(session.wants, 'line');
      session.step({ kind: 'line', line: `RCPT TO:<u${i}@b.example>` });
    }
    assert.equal(session.wants, 'answer');
  });

  test('with all recipients refused DATA is refused, and a body sent all the same is not obeyed', () => {
    play(`${HELLO}
      > MAIL FROM:<a@a.example>
      < !begin <a@a.example>
      < 250 *
      > RCPT TO:<b@b.example>
      < !rcpt <b@b.example>
      > !rcpt 0 550
      < 550 far
      > DATA
      < 503 5.5.1 *
      > Subject: not a command
      < 500 5.5.2 *
      < !end protocol.syntax
      < !close`);
  });

  test('RSET, EHLO and QUIT let the transaction go', () => {
    for (const [line, answer] of [
      ['RSET', '< 250 2.0.0 Reset'],
      ['HELO b.example', '< 250 gw1.example.net'],
      ['QUIT', '< 221 *\n< !close'],
    ]) {
      play(`${ENVELOPE}\n> ${line}\n< !end session.no-message\n${answer}`);
    }
  });

  test('HELO offers nothing, so parameters are refused', () => {
    play(`
      > !open
      < 220 *
      > HELO a.example
      < 250 gw1.example.net
      > MAIL FROM:<a@a.example> SIZE=10
      < 555 5.5.4 *`);
  });

  test('a far side without extensions: a bare EHLO reply', () => {
    play('> !open\n< 220 *\n> EHLO a\n< 250 gw1.example.net', newSession({ offers: () => noCapabilities }));
  });

  test('SIZE: declared above the smaller of both limits is refused at MAIL', () => {
    play(`${HELLO}
      > MAIL FROM:<a@a.example> SIZE=500001
      < 552 5.3.4 *
      > MAIL FROM:<a@a.example> SIZE=500000 BODY=8BITMIME RET=HDRS ENVID=x+2By
      < !begin <a@a.example> SIZE=500000 BODY=8BITMIME RET=HDRS ENVID=x+2By
      < 250 *`);
  });

  test('an extension that is not offered: 4xx when a server once had it, else what its RFC says', () => {
    const MAIL = [
      ['BODY=8BITMIME', '554 5.6.3'],
      ['SMTPUTF8', '550 5.6.7'],
      ['RET=FULL', '555 5.5.4'],
    ] as const;
    for (const [parameter, never] of MAIL) {
      const refused = (code: string): string =>
        `> !open\n< 220 *\n> EHLO a\n< 250 *\n> MAIL FROM:<a@b> ${parameter}\n< ${code} *`;
      play(refused(never), newSession({ offers: () => noCapabilities }));
      play(refused('451 4.3.3'), newSession({ offers: () => noCapabilities, everOffered: () => true }));
    }
    const seven = '> !open\n< 220 *\n> EHLO a\n< 250 *\n> MAIL FROM:<a@b> BODY=7BIT\n< !begin <a@b>\n< 250 *';
    play(seven, newSession({ offers: () => noCapabilities }));
  });

  test('an address with octets above 127 needs SMTPUTF8', () => {
    play(`${HELLO}
      > MAIL FROM:<\xc3\xbc@a.example>
      < 501 5.5.4 *
      > MAIL FROM:<\xc3\xbc@a.example> SMTPUTF8
      < !begin <\xc3\xbc@a.example> SMTPUTF8
      < 250 *
      > RCPT TO:<\xc3\xbc@b.example>
      < !rcpt <\xc3\xbc@b.example>`);
  });

  test('the banner may be a refusal; then it is over', () => {
    play('> !open limit.connections\n< 421 4.7.0 Too many connections*\n< !close\n> EHLO a');
  });

  test('a fault in a line end closes, at the banner as in a transaction', () => {
    play('> !open\n< 220 *\n> !line-end\n< 500 5.5.2 *\n< !close');
    play(`${ENVELOPE}\n> !line-length\n< 500 5.5.2 *\n< !end protocol.line-length\n< !close`);
  });

  test('HTTP and TLS are told what this is', () => {
    for (const line of ['GET / HTTP/1.1', 'POST /x HTTP/1.0', '\x16\x03\x01']) {
      play(`> !open\n< 220 *\n> ${line}\n< 421 4.5.1 This is SMTP*\n< !close`);
    }
  });

  test('BDAT is answered and the connection closed', () => {
    play(`${ENVELOPE}\n> BDAT 10 LAST\n< 503 5.5.1 CHUNKING*\n< !end protocol.bdat\n< !close`);
  });

  test('AUTH is told about port 587', () => {
    play(`${HELLO}\n> AUTH PLAIN AGEAYg==\n< 502 5.7.0 Authentication is not offered on port 25; use port 587 *`);
  });

  test('20 refused commands end the session', () => {
    const session = newSession({ maxErrors: 3 });
    play(
      '> !open\n< 220 *\n> A\n< 500 *\n> B\n< 500 *\n> C\n< 500 *\n< 421 4.7.0 Too many refused*\n< !close',
      session,
    );
  });

  test('a deadline or a shutdown answers what is open with 421', () => {
    play(`${HELLO}\n> !stop limit.time\n< 421 4.4.2 *\n< !close`);
    play(`${HELLO}
      > MAIL FROM:<a@a.example>
      < !begin <a@a.example>
      < 250 *
      > RCPT TO:<b@b.example>
      < !rcpt <b@b.example>
      > RCPT TO:<c@b.example>
      < !rcpt <c@b.example>
      > !stop session.shutdown
      < 421 4.3.2 *
      < !end session.shutdown
      < !close
      > !rcpt 0 250`);
  });

  test('a host that goes away ends its transaction without a word', () => {
    play(`${ENVELOPE}\n> !gone\n< !end session.gone\n< !close\n> QUIT`);
  });

  test('every refusal of a transaction carries its id, others the session id', () => {
    play(`${HELLO}
      > FOO
      < 500 5.5.2 Command not recognised [protocol.syntax id=S https://h/protocol.syntax]
      > MAIL FROM:<a@a.example>
      < !begin <a@a.example>
      < 250 *
      > FOO
      < 500 5.5.2 Command not recognised [protocol.syntax id=T1 https://h/protocol.syntax]`);
  });

  test('limit.recipients: the next one gets 452', () => {
    const session = newSession({ maxRecipients: 1 });
    play(`${ENVELOPE}\n> RCPT TO:<c@b.example>\n< 452 4.5.3 *`, session);
  });
});

/** What each command gets. `at` is where in a session it is said. */
const TABLE: readonly [at: 'start' | 'hello' | 'envelope', line: string, answer: string][] = [
  ['hello', 'FOO', '500 5.5.2'],
  ['hello', '', '500 5.5.2'],
  ['hello', 'MAIL FROM:bad', '501 5.5.4'],
  ['hello', 'MAIL FROM:<bad', '501 5.5.4'],
  ['hello', 'MAIL FROM:<a b@c>', '501 5.5.4'],
  ['hello', 'MAIL FROM:', '501 5.5.4'],
  ['hello', 'MAIL TO:<a@b>', '501 5.5.4'],
  ['hello', 'MAIL', '501 5.5.4'],
  ['hello', 'MAIL FROM:<a@b> FOO=1', '555 5.5.4'],
  ['hello', 'MAIL FROM:<a@b> AUTH=<>', '555 5.5.4'],
  ['hello', 'MAIL FROM:<a@b> BODY=BINARYMIME', '501 5.5.4'],
  ['hello', 'MAIL FROM:<a@b> SIZE=x', '501 5.5.4'],
  ['hello', 'MAIL FROM:<a@b> SIZE=1 SIZE=2', '501 5.5.4'],
  ['hello', 'VRFY a', '252 2.5.2'],
  ['hello', 'VRFY', '501 5.5.4'],
  ['hello', 'EXPN list', '502 5.5.1'],
  ['hello', 'HELP', '214 2.0.0'],
  ['hello', 'NOOP', '250 2.0.0'],
  ['hello', 'noop ignored', '250 2.0.0'],
  ['hello', 'RSET', '250 2.0.0'],
  ['hello', 'RSET x', '501 5.5.4'],
  ['hello', 'DATA', '503 5.5.1'],
  ['hello', 'RCPT TO:<a@b>', '503 5.5.1'],
  ['hello', 'STARTTLS', '502 5.5.1'],
  ['hello', 'TURN', '502 5.5.1'],
  ['hello', 'ETRN x', '502 5.5.1'],
  ['hello', 'EHLO', '501 5.5.4'],
  ['hello', 'EHLO a b', '501 5.5.4'],
  ['start', 'MAIL FROM:<a@b>', '503 5.5.1'],
  ['start', 'RCPT TO:<a@b>', '503 5.5.1'],
  ['start', 'DATA', '503 5.5.1'],
  ['start', 'NOOP', '250 2.0.0'],
  ['start', 'HELO', '501 5.5.4'],
  ['envelope', 'MAIL FROM:<c@d>', '503 5.5.1'],
  ['envelope', 'RCPT TO:<>', '501 5.5.4'],
  ['envelope', 'RCPT TO:<a@b> NOTIFY=NEVER,SUCCESS', '501 5.5.4'],
  ['envelope', 'RCPT TO:<a@b> SIZE=1', '555 5.5.4'],
  ['envelope', 'DATA x', '501 5.5.4'],
];

describe('Shows 4: what each command gets (S14)', () => {
  for (const [at, line, answer] of TABLE) {
    test(`${at}: ${JSON.stringify(line)} -> ${answer}`, () => {
      const session = newSession();
      play(at === 'start' ? '> !open\n< 220 *' : at === 'hello' ? HELLO : ENVELOPE, session);
      const [first] = session.step({ kind: 'line', line });
      assert.equal(first?.kind, 'reply');
      const text = first.reply.bytes.toString('latin1');
      assert.ok(text.startsWith(`${answer} `), text);
      if (first.reply.code >= 400) assert.match(text, /\[[a-z.-]+ id=(S|T1) https:\/\/h\/[a-z.-]+\]\r\n$/);
    });
  }

  test('addresses that hosts really send are taken', () => {
    for (const argument of [
      'FROM:<a@b>',
      'from:<a@b>',
      'FROM: <a@b>',
      'FROM:a@b.example',
      'FROM:<"a b"@c.example>',
      'FROM:<"a>b"@c.example>',
      'FROM:<a@[192.0.2.1]>',
      'FROM:<a@[IPv6:2001:db8::1]>',
      'FROM:<@relay.example:a@b.example>',
      'FROM:<a_b+c=d@under_score.example>',
      'FROM:<>',
      'FROM:<> ',
    ]) {
      const session = newSession();
      play(HELLO, session);
      assert.equal(session.step({ kind: 'line', line: `MAIL ${argument}` })[0]?.kind, 'begin', argument);
    }
  });
});

describe('STARTTLS', () => {
  const offering = (change = {}): ReturnType<typeof newSession> =>
    newSession({ offers: () => ({ ...noCapabilities, startTls: true }), ...change });
  const SECURED = `
    > !open
    < 220 gw1.example.net ESMTP Postern
    > EHLO a.example
    < 250-gw1.example.net
    < 250 STARTTLS
    > STARTTLS
    < 220 2.0.0 Ready to start TLS
    < !secure
    > !secured`;

  test('everything is forgotten; it is not offered again, and what is sent needs TLS all the way', () => {
    const session = offering();
    play(
      `${SECURED}
      > MAIL FROM:<a@a.example>
      < 503 5.5.1 *
      > EHLO b.example
      < 250 gw1.example.net
      > STARTTLS
      < 503 5.5.1 *`,
      session,
    );
    assert.deepEqual([session.helo, session.isEncrypted], ['b.example', true]);
    const [begin] = session.step({ kind: 'line', line: 'MAIL FROM:<a@a.example>' });
    assert.deepEqual(begin?.kind === 'begin' && begin.transaction.from.needs, ['STARTTLS']);
  });

  test('a transaction under way is let go, and answers that are due come before the 220', () => {
    play(
      `
      > !open
      < 220 gw1.example.net ESMTP Postern
      > EHLO a.example
      < 250-gw1.example.net
      < 250 STARTTLS
      > MAIL FROM:<a@a.example>
      < !begin <a@a.example>
      < 250 2.1.0 Sender accepted
      > RCPT TO:<b@b.example>
      < !rcpt <b@b.example>
      > STARTTLS
      > !rcpt 0 250
      < 250 far
      < !end session.no-message
      < 220 2.0.0 Ready to start TLS
      < !secure
      > !secured
      > RCPT TO:<b@b.example>
      < 503 5.5.1 *`,
      offering(),
    );
  });

  test('with an argument, or before EHLO, or with HELO: refused, and the session goes on', () => {
    play(
      `
      > !open
      < 220 gw1.example.net ESMTP Postern
      > STARTTLS
      < 502 5.5.1 *
      > HELO a.example
      < 250 gw1.example.net
      > STARTTLS
      < 502 5.5.1 *
      > EHLO a.example
      < 250-gw1.example.net
      < 250 STARTTLS
      > STARTTLS now
      < 501 5.5.4 *
      > NOOP
      < 250 2.0.0 OK`,
      offering(),
    );
  });

  test('octets behind it: refused, and the connection ends', () => {
    play(
      `
      > !open
      < 220 gw1.example.net ESMTP Postern
      > EHLO a.example
      < 250-gw1.example.net
      < 250 STARTTLS
      > STARTTLS
      < 503 5.5.1 *
      < !close`,
      offering({ isFollowed: () => true }),
    );
  });

  test('refusals of before the handshake go on counting', () => {
    play(
      `
      > !open
      < 220 gw1.example.net ESMTP Postern
      > FOO
      < 500 5.5.2 *
      > EHLO a.example
      < 250-gw1.example.net
      < 250 STARTTLS
      > STARTTLS
      < 220 2.0.0 Ready to start TLS
      < !secure
      > !secured
      > FOO
      < 500 5.5.2 *
      < 421 4.7.0 *
      < !close`,
      offering({ maxErrors: 2 }),
    );
  });

  test('in the middle of the handshake nothing is said, whatever ends it', () => {
    for (const end of ['!stop limit.time', '!gone'])
      play(`${SECURED.replace(/> !secured$/, '')}\n> ${end}\n< !close`, offering());
  });
});

describe('a session whose far side answers for itself', () => {
  const far = () => newSession({ isFarAnswering: true });
  const FAR_HELLO = `
    > !open
    < 220 gw1.example.net ESMTP Postern
    > EHLO a.example
    < !pass-on EHLO a.example
    > !answer 0 250
    < 250-far
    < 250-DSN
    < 250-starttls
    < 250 HELP`;

  test('every command that a server can be asked is passed on, and answered in order', () => {
    play(
      `${FAR_HELLO}
      > NOOP x
      < !pass-on NOOP x
      > !answer 1 250
      < 250 far
      > MAIL FROM:<a@a.example>
      < !begin <a@a.example>
      < !pass-on MAIL FROM:<a@a.example>
      > RCPT TO:<b@b.example>
      < !rcpt <b@b.example>
      > !rcpt 3 250
      > !answer 2 250
      < 250 far
      < 250 far
      > RSET
      < !end session.no-message
      < !pass-on RSET
      > !answer 4 250
      < 250 far
      > QUIT
      < !pass-on QUIT
      > !answer 5 221
      < 221 far
      < !close`,
      far(),
    );
  });

  test('before EHLO is answered nothing was said: MAIL is out of sequence', () => {
    play(
      `> !open
      < 220 gw1.example.net ESMTP Postern
      > EHLO a.example
      < !pass-on EHLO a.example
      > !answer 0 550
      < 550 far
      > MAIL FROM:<a@a.example>
      < 503 5.5.1 *`,
      far(),
    );
  });

  test('a refused MAIL ends the transaction when the answers behind it are in', () => {
    play(
      `${FAR_HELLO}
      > MAIL FROM:<a@a.example>
      < !begin <a@a.example>
      < !pass-on MAIL FROM:<a@a.example>
      > RCPT TO:<b@b.example>
      < !rcpt <b@b.example>
      > !answer 1 550
      < 550 far
      > !rcpt 2 503
      < 503 far
      < !end upstream.reply
      > MAIL FROM:<c@a.example>
      < !begin <c@a.example>
      < !pass-on MAIL FROM:<c@a.example>`,
      far(),
    );
  });

  test('what waits behind an answer is run when it is in; an end from the far side answers all that is open', () => {
    play(
      `${FAR_HELLO}
      > NOOP
      < !pass-on NOOP
      > VRFY b
      > !answer 1 250
      < 250 far
      < !pass-on VRFY b
      > !stop upstream.lost
      < 421 4.4.2 *
      < !close`,
      far(),
    );
  });

  test('STARTTLS is answered here; inside TLS the next EHLO is the server’s again, without it', () => {
    play(
      `${FAR_HELLO}
      > STARTTLS
      < 220 2.0.0 Ready to start TLS
      < !secure
      > !secured
      > MAIL FROM:<a@a.example>
      < 503 5.5.1 *
      > EHLO b.example
      < !pass-on EHLO b.example
      > !answer 1 250
      < 250-far
      < 250-DSN
      < 250 HELP`,
      newSession({ isFarAnswering: true, offers: () => noCapabilities }),
    );
  });
});
