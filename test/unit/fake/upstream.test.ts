/** The fake far server itself: what others measure with it has to be right. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { contentOf, startFakeUpstream } from '../../fake/upstream.ts';

const BODY = 'Received: from x\r\n\tby y\r\nMessage-ID: <1@example.net>\r\n\r\n..\r\n...two\r\nend.\r\n';
const CONTENT = 'Message-ID: <1@example.net>\r\n\r\n.\r\n..two\r\nend.\r\n';
const SESSION = `EHLO h\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n${BODY}.\r\nMAIL FROM:<>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n.\r\nQUIT\r\n`;

const sha256 = (text: string): string => createHash('sha256').update(text, 'latin1').digest('hex');

test('a session, cut at every position, is taken to the byte', async (t) => {
  const fake = await startFakeUpstream();
  t.after(() => fake.close());
  for (let at = 0; at < SESSION.length; at += 1) {
    fake.messages.length = 0;
    const socket = connect({ port: fake.port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    const replies: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => replies.push(chunk));
    const segments = fake.segments;
    if (at > 0) {
      socket.write(SESSION.slice(0, at), 'latin1');
      await fake.until(() => fake.segments > segments);
    }
    socket.write(SESSION.slice(at), 'latin1');
    await once(socket, 'close');
    const codes = Buffer.concat(replies)
      .toString()
      .match(/^\d{3}(?= )/gm);
    assert.deepEqual(codes?.join(' '), '220 250 250 250 354 250 250 250 354 250 221', `cut at ${at}`);
    assert.equal(fake.messages.length, 2);
    const [first, second] = fake.messages;
    assert.equal(first?.body.toString('latin1'), BODY, `cut at ${at}`);
    assert.equal(first.sha256, sha256(BODY));
    assert.equal(first.contentSha256, sha256(CONTENT));
    assert.equal(first.messageId, '<1@example.net>');
    assert.equal(second?.sizeBytes, 0, `cut at ${at}`);
    assert.deepEqual([second.from, ...second.recipients], ['<>', '<c@example.net>']);
  }
});

test('content: only a Received on top is left out, and dots are unstuffed once', () => {
  const content = (text: string): string => contentOf(Buffer.from(text)).toString();
  assert.equal(content('Subject: a\r\nReceived: b\r\n\r\n'), 'Subject: a\r\nReceived: b\r\n\r\n');
  assert.equal(content('Received: a\r\nReceived: b\r\n\r\n'), 'Received: b\r\n\r\n');
  assert.equal(content('..a\r\n..\r\n..b\r\n'), '.a\r\n.\r\n.b\r\n');
  assert.equal(content(''), '');
});
