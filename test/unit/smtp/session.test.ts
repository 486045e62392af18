/** What a session does when more comes than it can say at once, and when it is over before everything is answered. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reply } from '../../../src/smtp/reply.ts';
import type { Session, SessionCommand, Slot } from '../../../src/smtp/session.ts';
import { newSession, play } from '../../playbook/playbook.ts';

/** A session in which one recipient has been asked about and not been answered. */
function asking(options: Parameters<typeof newSession>[0] = {}): { session: Session; slot: Slot } {
  const session = newSession(options);
  session.step({ kind: 'open' });
  session.step({ kind: 'line', line: 'EHLO a.example' });
  session.step({ kind: 'line', line: 'MAIL FROM:<a@a.example>' });
  const [asked] = session.step({ kind: 'line', line: 'RCPT TO:<b@b.example>' });
  assert.equal(asked?.kind, 'recipient');
  return { session, slot: asked.slot };
}

const text = (commands: readonly SessionCommand[]): string[] =>
  commands.map((one) => (one.kind === 'reply' ? one.reply.bytes.toString('latin1').slice(0, 9) : one.kind));

describe('a session with an answer due', () => {
  for (const [what, event] of [
    ['a fault', { kind: 'line-fault', fault: 'line-end' }],
    ['another protocol', { kind: 'line', line: 'GET / HTTP/1.1' }],
  ] as const) {
    test(`after ${what} nothing more is read, and the last word comes behind the answer`, () => {
      const { session, slot } = asking();
      assert.equal(session.wants, 'line');
      assert.deepEqual(session.step(event), []);
      assert.equal(session.wants, 'answer', 'asked again and again it would say no again and again');
      assert.deepEqual(text(session.step({ kind: 'recipient', slot, reply: reply(250, 'far') })), [
        '250 far\r\n',
        what === 'a fault' ? '500 5.5.2' : '421 4.5.1',
        'end',
        'close',
      ]);
    });
  }

  test('after the last refused command likewise', () => {
    const { session, slot } = asking({ maxErrors: 2 });
    for (const line of ['RCPT TO:bad@', 'RCPT TO:<>']) session.step({ kind: 'line', line });
    assert.equal(session.wants, 'answer');
    assert.deepEqual(text(session.step({ kind: 'recipient', slot, reply: reply(250, 'far') })), [
      '250 far\r\n',
      '501 5.5.4',
      '501 5.5.4',
      '421 4.7.0',
      'end',
      'close',
    ]);
  });

  test('refusals that wait behind it are bounded', () => {
    const { session, slot } = asking({ maxRecipients: 1 });
    let lines = 0;
    for (; session.wants === 'line' && lines < 1000; lines++)
      session.step({ kind: 'line', line: 'RCPT TO:<c@b.example>' });
    assert.equal(lines, 199);
    assert.equal(session.step({ kind: 'recipient', slot, reply: reply(250, 'far') }).length, 200);
    assert.equal(session.wants, 'line');
  });

  test('it is not the host’s turn', () => {
    const { session, slot } = asking();
    assert.ok(session.isAsking);
    session.step({ kind: 'recipient', slot, reply: reply(250, 'far') });
    assert.ok(!session.isAsking);
  });
});

describe('what counts as an error of the host', () => {
  const BEGIN = '> !open\n< 220 *\n> HELO a\n< 250 *\n> MAIL FROM:<a@a.example>\n< !begin <a@a.example>\n< 250 *';
  const MESSAGE = '> RCPT TO:<b@b.example>\n< !rcpt <b@b.example>\n> !rcpt 0 250\n< 250 far\n> DATA\n< 354 *\n< !body';

  test('not one recipient too many: 1,000 of them end no session', () => {
    const session = newSession({ maxRecipients: 1, maxErrors: 2 });
    play(`${BEGIN}\n> RCPT TO:<b@b.example>\n< !rcpt <b@b.example>\n> !rcpt 0 250\n< 250 far`, session);
    for (let i = 0; i < 1000; i++) play('> RCPT TO:<c@b.example>\n< 452 4.5.3 *', session);
    play('> DATA\n< 354 *\n< !body\n> !outcome 250\n< !end accepted.clean\n< 250 far', session);
  });

  test('a message that is refused for good, by us', () => {
    play(
      `${BEGIN}\n${MESSAGE}
      > !outcome 550 spam.gtube
      < !end spam.gtube
      < 550 far
      < 421 4.7.0 Too many refused*
      < !close`,
      newSession({ maxErrors: 1 }),
    );
  });

  for (const [what, outcome] of [
    ['one that the far side refuses', '550 upstream.reply'],
    ['one that is to come again', '451 upstream.down'],
  ]) {
    test(`not ${what}`, () => {
      play(
        `${BEGIN}\n${MESSAGE}\n> !outcome ${outcome}\n< !end ${outcome?.slice(4)}\n< ${outcome?.slice(0, 3)} far`,
        newSession({ maxErrors: 1 }),
      );
    });
  }
});
