/**
 * SMTP smuggling: a lone dot between line ends that two servers read differently, with a second message behind it. Every
 * such body, cut at every place around its dot, goes through the gateway into a far server that takes any of them for the
 * end; no message that the host did not send as one may arrive there. The same bytes straight into it show that it would.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { LenientSink } from '../fake/lenient.ts';
import { startGateway, type TestGateway, testConfig } from '../kit/gateway.ts';
import { hear } from './hear.ts';

/** Line ends by name; what servers are known to take for one. */
const ENDS = {
  CRLF: '\r\n',
  LF: '\n',
  CR: '\r',
  'CR CR LF': '\r\r\n',
  'LF CR': '\n\r',
  'NUL CRLF': '\0\r\n',
  'CRLF NUL': '\r\n\0',
  'CR NUL LF': '\r\0\n',
} as const;
type End = keyof typeof ENDS;
const NAMES = Object.keys(ENDS) as End[];

const PLACES = {
  header: (dot: string) => `From: a@a.example\r\nSubject: x${dot}${SECOND}`,
  body: (dot: string) => `From: a@a.example\r\nDate: x\r\n\r\nfirst${dot}${SECOND}`,
  start: (dot: string) => `${dot}${SECOND}`,
} as const;
type Place = keyof typeof PLACES;

const SECOND = [
  'MAIL FROM:<smuggled@evil.example>',
  'RCPT TO:<victim@b.example>',
  'DATA',
  'From: ceo@a.example',
  '',
  'evil',
  '',
].join('\r\n');

const ENVELOPE = 'EHLO a.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n';
const LAST = '.\r\nQUIT\r\n';

type Variant = { readonly name: string; readonly body: string; readonly dotAt: number; readonly dotBytes: number };

/** CRLF . CRLF: the end of the body for everybody, so that what is behind it are commands and no smuggling. */
function isTrueEnd(before: string, after: string): boolean {
  return before.endsWith('\r\n') && after.startsWith('\r\n');
}

function* variants(): Generator<Variant> {
  for (const place of Object.keys(PLACES) as Place[]) {
    // Right after DATA's own CRLF nothing needs to stand before the dot.
    for (const before of place === 'start' ? (['', ...NAMES] as const) : NAMES) {
      for (const behind of NAMES) {
        const [x, y] = [before === '' ? '' : ENDS[before], ENDS[behind]];
        if (isTrueEnd(before === '' ? '\r\n' : x, y)) continue;
        const dot = `${x}.${y}`;
        const body = PLACES[place](dot);
        yield { name: `${place}: ${before} . ${behind}`, body, dotAt: body.indexOf(dot), dotBytes: dot.length };
      }
    }
  }
}

const ALL = [...variants()];

/** The body as segments: whole, cut once at every place around the dot, and every octet around it alone. */
function* cutsOf({ body, dotAt, dotBytes }: Variant): Generator<readonly string[]> {
  yield [body + LAST];
  const end = dotAt + dotBytes;
  for (let at = Math.max(1, dotAt); at <= end; at++) yield [body.slice(0, at), body.slice(at) + LAST];
  const octets = body.slice(dotAt, end).split('');
  yield [body.slice(0, dotAt), ...octets, body.slice(end) + LAST].filter((segment) => segment !== '');
}

const isSmuggled = ({ from }: { readonly from: string }): boolean => from.includes('smuggled');

describe('smuggling', () => {
  let sink: LenientSink;
  let gateway: TestGateway;
  before(async () => {
    sink = await LenientSink.start();
    gateway = await startGateway({ config: await testConfig([sink.endpoint]) });
  });
  after(async () => {
    await gateway.close();
    await sink.close();
  });

  /** One session, the body's segments one by one; what the host heard until the gateway closed. */
  async function play(segments: readonly string[]): Promise<string> {
    const host = gateway.connect();
    const heard = hear(host);
    host.write(ENVELOPE);
    await heard.until(/^354 /m);
    for (const segment of segments) {
      host.write(Buffer.from(segment, 'latin1'));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const text = await heard.end();
    host.end();
    return text;
  }

  test(`at least 125 variants, ${ALL.length} here`, () => assert.ok(ALL.length >= 125));

  test('control: straight into the far server every one of them smuggles', async () => {
    const failed: string[] = [];
    for (const { name, body } of ALL) {
      const seen = sink.messages.length;
      const socket = connect(sink.port, '127.0.0.1').resume();
      socket.write(Buffer.from(ENVELOPE + body + LAST, 'latin1'));
      await once(socket, 'close');
      if (!sink.messages.slice(seen).some(isSmuggled)) failed.push(name);
    }
    assert.deepEqual(failed, [], 'the far server is lenient enough to show what would happen');
    sink.messages.length = 0;
    sink.heard.length = 0;
  });

  test('control: two messages that the host really sends both arrive', async () => {
    const good = PLACES.body('\r\n.\r\n');
    for (const segments of [[good + LAST], `${good}${LAST}`.split('')]) assert.match(await play(segments), /^221 /m);
    assert.deepEqual(
      sink.messages.map(({ from }) => from),
      ['<a@a.example>', '<smuggled@evil.example>', '<a@a.example>', '<smuggled@evil.example>'],
    );
    sink.messages.length = 0;
  });

  for (const place of Object.keys(PLACES) as Place[]) {
    test(`nothing is smuggled: a dot in the ${place}, at every cut`, async () => {
      const books = ALL.filter(({ name }) => name.startsWith(place)).flatMap((variant) =>
        [...cutsOf(variant)].map((segments) => ({ name: variant.name, segments })),
      );
      for (let at = 0; at < books.length; at += 32) {
        const some = books.slice(at, at + 32);
        const said = await Promise.all(some.map(({ segments }) => play(segments)));
        for (const [i, text] of said.entries()) {
          const what = `${some[i]?.name}, cut as ${JSON.stringify(some[i]?.segments)}: ${text}`;
          // The refusal, and at most QUIT's answer behind it: nothing of the second message was taken for a command.
          const [answer, ...rest] = text.split(/^354 .*\r\n/m)[1]?.split('\r\n') ?? [];
          assert.match(answer ?? '', /^554 5\.6\.0 .*\[body\.(line-end|nul) /, what);
          assert.ok(rest.length === 1 || (rest.length === 2 && rest[0]?.startsWith('221 ')), what);
        }
      }
      assert.deepEqual(sink.messages, [], 'nothing arrived');
    });
  }

  test('nothing went out but commands in strict lines', () => {
    for (const text of sink.heard) {
      assert.doesNotMatch(text.replaceAll('\r\n', ''), /[\r\n\0]/);
    }
    assert.ok(sink.heard.length > 0);
  });
});
