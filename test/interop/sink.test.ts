/** The sink judges everything else here, so it is judged first: against bytes written out by hand, however they are cut. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { names } from './dns.ts';
import { Connection, type SinkEvent, type SinkMessage } from './sink.ts';

const sha256 = (text: string): string => createHash('sha256').update(text, 'latin1').digest('hex');

const ENVELOPE =
  'EHLO a.example\r\nMAIL FROM:<a@a.example> SIZE=9\r\nRCPT TO:<b@b.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\n';

/** Everything in one go, as no client may, but cut in two at `at`: the sink must not care. */
async function send(bytes: string, at: number): Promise<SinkMessage> {
  const [client, server] = duplexPair();
  const events: SinkEvent[] = [];
  new Connection(server, 1, undefined, (event) => events.push(event));
  client.resume();
  for (const part of [bytes.slice(0, at), bytes.slice(at)]) {
    client.write(part, 'latin1');
    await turn();
  }
  client.end();
  await once(client, 'close');
  const [message, ...more] = events.filter((event) => event.kind === 'message');
  assert.ok(message, `no message when cut at ${at}`);
  assert.deepEqual(more, []);
  return message;
}

const WIRE = 'S: x\r\nT: y\r\n\r\n..\r\n...\r\n.a\r\nb.\r\n\r\n\xe4\r\n.\r\nQUIT\r\n';
const BODY = '.\r\n..\r\na\r\nb.\r\n\r\n\xe4\r\n';

test('a message is taken as it was sent, wherever the segments end', async () => {
  const bytes = ENVELOPE + WIRE;
  for (let at = 0; at <= bytes.length; at++) {
    const got = await send(bytes, at);
    assert.equal(got.header, 'S: x\r\nT: y\r\n');
    assert.equal(got.bodySha256, sha256(BODY), `cut at ${at}`);
    assert.equal(got.bodySizeBytes, BODY.length);
    assert.equal(got.sha256, sha256(`S: x\r\nT: y\r\n\r\n${BODY}`));
    assert.deepEqual(
      [got.mail, got.rcpts, got.helo],
      ['<a@a.example> SIZE=9', ['<b@b.example>', '<c@b.example>'], 'a.example'],
    );
    assert.equal(got.strayBytes, 0);
  }
});

for (const [what, wire, header, body, stray] of [
  ['nothing at all', '.\r\n', '', '', 0],
  ['a body alone', '\r\nb\r\n.\r\n', '', 'b\r\n', 0],
  ['a header alone', 'S: x\r\n.\r\n', 'S: x\r\n', '', 0],
  ['line ends that end no message', '\r\na\n.\nb\r.\rc\n.\r\n\r\n.\r\n', '', 'a\n.\nb\r.\rc\n.\r\n\r\n', 5],
  ['a NUL', '\r\na\0\r\n.\r\n', '', 'a\0\r\n', 1],
] as const) {
  test(`a message of ${what}`, async () => {
    const got = await send(`${ENVELOPE}${wire}QUIT\r\n`, ENVELOPE.length);
    assert.deepEqual([got.header, got.bodySha256, got.strayBytes], [header, sha256(body), stray]);
  });
}

test('the name server knows one MX for each family, and nothing else', () => {
  const ask = (name: string, type: number): string => {
    const labels = name.split('.').map((label) => String.fromCharCode(label.length) + label);
    const question = Buffer.from(
      `\x12\x34\x01\0\0\x01\0\0\0\0\0\0${labels.join('')}\0\0${String.fromCharCode(type)}\0\x01`,
      'latin1',
    );
    const reply = names.answer(question);
    assert.ok(reply);
    const code = (reply[3] ?? 0) & 15;
    return `${code} ${reply.readUInt16BE(6)} ${reply.subarray(question.length + 12).toString('hex')}`;
  };
  assert.equal(ask('mx.v4.example.org', 1), '0 1 cb007119');
  assert.equal(ask('mx.v4.example.org', 28), '0 0 ');
  assert.equal(ask('mx.v6.example.org', 28), '0 1 20010db8000200000000000000000025');
  assert.match(ask('V4.example.org', 15), /^0 1 000a026d7802/);
  assert.equal(ask('v5.example.org', 1), '3 0 ');
});
