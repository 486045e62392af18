/** Addresses in messages against lists in files and in DNS. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { makeFilters } from '../../../src/filter/all.ts';
import { UrlList } from '../../../src/filter/url-list.ts';
import { FakeDns } from '../../fake/dns.ts';
import { FakeRelay } from '../../fake/relay.ts';
import { hear } from '../../fuzz/hear.ts';
import { testClock } from '../../kit/clock.ts';
import { startGateway, testConfig } from '../../kit/gateway.ts';
import { filtersOf, lookAt, mailOf, testDeps } from '../../kit/mail.ts';
import { assertRecorded, told } from '../../kit/table.ts';
import { within } from '../../kit/pace.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-urls-'));
after(() => rmSync(directory, { recursive: true }));
const file = join(directory, 'list.txt');
writeFileSync(file, '# a comment\r\nbad.example\n\n HTTPS://Good.Example/bad/ # why\nbücher.example\n192.0.2.7\n');

const textOf = (url: string): string =>
  `From: a\r\nDate: b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nsee ${url} now\r\n`;

describe('a file', () => {
  const cases: readonly [url: string, by: string | undefined][] = [
    ['http://bad.example', 'bad.example'],
    ['https://www.BAD.example:8443/x?y', 'bad.example'],
    ['http://user@bad.example./', 'bad.example'],
    ['www.bad.example', 'bad.example'],
    ['http://notbad.example/', undefined],
    ['http://good.example/bad/page', 'good.example/bad/'],
    ['http://good.example/good', undefined],
    ['http://xn--bcher-kva.example/', 'xn--bcher-kva.example'],
    [Buffer.from('http://bücher.example/').toString('latin1'), 'xn--bcher-kva.example'],
    ['http://192.0.2.7/x', '192.0.2.7'],
    ['http://b.example/?to=bad.example', undefined],
    ['http://bad.example:/', 'bad.example'],
    ['http://a@b@bad.example/', 'bad.example'],
    [`http://${'u'.repeat(300)}@bad.example/`, 'bad.example'],
    ['http://%62ad%2eexample/', 'bad.example'],
    ['http://bad.example%2f@b.example/', undefined],
    ['http://3221225991/', '192.0.2.7'],
    ['http://good.example:/bad/page', 'good.example/bad/'],
    ['http://good.example/x/../bad/page', 'good.example/bad/'],
  ];
  for (const [url, by] of cases)
    test(url, async () => {
      const filters = await filtersOf(`urls.files = ["${file}"]`);
      const { found, classes } = await lookAt(filters, mailOf(textOf(url)));
      assert.deepEqual(found, by === undefined ? [] : [`listed: ${by} in ${file}`]);
      assert.deepEqual(classes, by === undefined ? [] : ['spam.url']);
    });

  for (const url of [
    'http:/bad.example/',
    'http:\\\\bad.example\\x',
    '\\\\bad.example/',
    '/\\bad.example',
    '//bad.example',
  ])
    test(`a link to ${url}`, async () => {
      const html = `From: a\r\nDate: b\r\nContent-Type: text/html\r\n\r\n<a href="${url}">x</a>\r\n`;
      const { found } = await lookAt(await filtersOf(`urls.files = ["${file}"]`), mailOf(html));
      assert.deepEqual(found, [`listed: bad.example in ${file}`]);
    });

  test('that cannot be read is a failure, for as long as it is configured', async () => {
    const filters = await filtersOf('urls.files = ["/nonexistent/list"]');
    for (let i = 0; i < 2; i++) {
      const { failed } = await lookAt(filters, mailOf(textOf('http://bad.example')));
      assert.match(failed[0] ?? '', /^urls: Error: ENOENT/);
    }
  });

  test('of 200,000 lines is read without holding the loop', async () => {
    const large = join(directory, 'large.txt');
    writeFileSync(large, Array.from({ length: 200_000 }, (_, i) => `host${i}.example\n`).join(''));
    let before = process.threadCpuUsage();
    let longestMs = 0;
    const timer = setInterval(() => {
      const { user, system } = process.threadCpuUsage(before);
      longestMs = Math.max(longestMs, (user + system) / 1000);
      before = process.threadCpuUsage();
    }, 1);
    const list = new UrlList(large);
    await list.ready;
    clearInterval(timer);
    assert.equal(list.size, 200_000);
    assert.ok(within(longestMs, 50), `the loop stood for ${longestMs} ms`);
  });

  test('of 50,000 addresses on one host is read, and a message of 500 addresses there looked at, within 50 ms and a few', async () => {
    const shared = join(directory, 'shared.txt');
    writeFileSync(shared, Array.from({ length: 50_000 }, (_, i) => `docs.example/d/${i}/view\n`).join(''));
    const list = new UrlList(shared);
    const before = process.threadCpuUsage();
    await list.ready;
    const deep = 'a.'.repeat(110);
    const found = Array.from({ length: 500 }, (_, i) => [
      list.match('docs.example', `/d/${i * 200}/view/page`),
      list.match(`${deep}x${i}.example`, '/'),
    ]).flat();
    const { user } = process.threadCpuUsage(before);
    assert.ok(within(user / 1000, 1000), `${user / 1000} ms`);
    assert.deepEqual(
      found.filter((line) => line !== undefined),
      Array.from({ length: 250 }, (_, i) => `docs.example/d/${i * 200}/view`),
    );
  });
});

describe('a list in DNS', () => {
  const zone = 'uri.example.org';
  const well = { [`test.${zone}`]: { A: ['127.0.0.2'] }, [`bad.example.${zone}`]: { A: ['127.0.0.4'] } };

  async function ask(
    records: ConstructorParameters<typeof FakeDns>[0],
    url: string,
    more = '',
    prepare?: (dns: FakeDns) => void,
  ) {
    const dns = await new FakeDns(records).start();
    prepare?.(dns);
    const filters = await filtersOf(
      `url_dns.lists = ["${zone}"]\nresolver = ["${dns.address}"]\nurl_dns.timeout = "${prepare ? '200ms' : '20s'}"\nurl_dns.deadline = "60s"\n${more}`,
    );
    const said = await lookAt(filters, mailOf(textOf(url)));
    dns.close();
    return { ...said, asked: dns.asked };
  }

  test('is asked for the last two and three labels of each host', async () => {
    const { found, asked } = await ask(well, 'http://a.b.bad.example/x');
    assert.deepEqual(found, [`listed: bad.example in ${zone}`]);
    assert.deepEqual(asked.map((name) => name.toLowerCase()).sort(), [
      `b.bad.example.${zone}`,
      `bad.example.${zone}`,
      `invalid.${zone}`,
      `test.${zone}`,
    ]);
    assert.deepEqual((await ask(well, 'http://good.example/')).found, []);
  });

  test('says nothing while it lists everything, not its test point, or tells that it does not answer', async () => {
    const everything = { ...well, [`invalid.${zone}`]: { A: ['127.0.0.2'] } };
    assert.deepEqual((await ask(everything, 'http://bad.example')).found, []);
    assert.deepEqual((await ask({ [`bad.example.${zone}`]: { A: ['127.0.0.2'] } }, 'http://bad.example')).found, []);
    const blocked = { ...well, [`bad.example.${zone}`]: { A: ['127.255.255.254'] } };
    assert.deepEqual((await ask(blocked, 'http://bad.example')).found, []);
    const parked = { ...well, [`bad.example.${zone}`]: { A: ['203.0.113.80'] } };
    assert.deepEqual((await ask(parked, 'http://bad.example')).found, []);
  });

  test('that is silent is a failure, and no finding', async () => {
    for (const behaviour of ['hang', 'servfail'] as const) {
      const { found, failed } = await ask(well, 'http://bad.example', '', (dns) => (dns.behaviour = behaviour));
      assert.deepEqual(found, []);
      assert.match(failed[0] ?? '', /^url_dns: /, behaviour);
    }
  });

  test('that is silent is not waited for by every message, and asked again after a while', async () => {
    const dns = await new FakeDns(well).start();
    const lines = `url_dns.lists = ["${zone}"]\nresolver = ["${dns.address}"]\nurl_dns.timeout = "2s"`;
    const config = await testConfig(['127.0.0.1:2'], { filters: lines });
    const clock = testClock();
    const filters = makeFilters(config, { ...testDeps(config), clock });
    const look = (name: string) => lookAt(filters, mailOf(textOf(`http://${name}`)));
    assert.equal((await look('bad.example')).found.length, 1);
    dns.behaviour = 'hang';
    // What was answered is remembered; another name shows the silence.
    assert.equal((await look('one.example')).failed.length, 1);
    const asked = dns.asked.length;
    assert.equal((await look('three.example')).failed.length, 1);
    assert.equal(dns.asked.length, asked, 'nobody is asked');
    dns.behaviour = 'answer';
    clock.forward(5000);
    assert.equal((await look('bad.example')).found.length, 1);
    dns.close();
  });

  test('is not asked for what is no name in the DNS, and not taken for silent because of it', async () => {
    const urls = `http://${'x'.repeat(64)}.example/ http://a..example/ http://good.example/`;
    const { failed, asked } = await ask(well, urls);
    assert.deepEqual(failed, []);
    assert.equal(asked.length, 2 + 1);
  });

  test('that is silent hides nothing that another one lists, and is a failure where none does', async () => {
    const silent = 'silent.example.org';
    const dns = await new FakeDns({ ...well, [`test.${silent}`]: { isSilent: true } }).start();
    const filters = await filtersOf(
      `url_dns.lists = ["${silent}", "${zone}"]\nresolver = ["${dns.address}"]\nurl_dns.timeout = "1s"\nurl_dns.deadline = "60s"`,
    );
    const bad = await lookAt(filters, mailOf(textOf('http://bad.example')));
    const good = await lookAt(filters, mailOf(textOf('http://good.example')));
    dns.close();
    assert.deepEqual([bad.found, bad.failed], [[`listed: bad.example in ${zone}`], []]);
    assert.deepEqual(good.found, []);
    assert.match(good.failed[0] ?? '', /^url_dns: /);
  });

  test('is asked so many questions a message, and no more', async () => {
    const many = Array.from({ length: 100 }, (_, i) => `http://h${i}.example/`).join(' ');
    const { asked } = await ask(well, many, 'url_dns.max_queries = 7');
    assert.equal(asked.length, 7 + 2);
  });
});

test('Shows 1: through the gateway: reply, journal row and metric equal to the table', async () => {
  const config = await testConfig(['127.0.0.1:2'], { filters: `urls.files = ["${file}"]` });
  const gateway = await startGateway({ config, relay: new FakeRelay() });
  const host = gateway.connect();
  const heard = hear(host);
  host.write('EHLO a.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n');
  host.write(`${textOf('http://bad.example/')}.\r\nQUIT\r\n`);
  const said = await heard.end();
  assert.match(said, /\r\n550 5\.7\.1 The message has an address [^\r]* \[spam\.url id=/);
  assert.equal((await gateway.ledger.recorded(1))[0]?.class, 'spam.url');
  await assertRecorded(gateway.ledger.attempts, told(said.split('\r\n')));
  await gateway.close();
});
