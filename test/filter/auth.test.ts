/** SPF, DKIM, DMARC and ARC as facts, whatever strangers have written and however name servers behave. */
import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { authenticate, type DKIMSignOptions, dkimSign } from 'mailauth';
import { closeFilters } from '../../src/filter/all.ts';
import { Call } from '../../src/filter/call.ts';
import type { Filter, Mail } from '../../src/filter/filter.ts';
import { enhancedCode, entryOf } from '../../src/policy/classes.ts';
import { verdictOf } from '../../src/policy/verdict.ts';
import { FakeDns } from '../fake/dns.ts';
import { FakeRelay } from '../fake/relay.ts';
import { hear } from '../fuzz/hear.ts';
import { startGateway, testConfig } from '../kit/gateway.ts';
import { filtersOf, lookAt, mailOf } from '../kit/mail.ts';
import { assertRecorded, type Told, told } from '../kit/table.ts';
import { within } from '../kit/pace.ts';

const rsa = (bits: number): { readonly secret: string; readonly record: string } => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  return {
    secret: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    record: `v=DKIM1; k=rsa; p=${(publicKey.export({ type: 'spki', format: 'der' }) as Buffer).toString('base64')}`,
  };
};
const KEY = rsa(2048);
const SHORT_KEY = rsa(768);
/** Nobody has the other half; making a real one takes seconds. */
const LONG_RECORD = `v=DKIM1; k=rsa; p=${(
  createPublicKey({
    format: 'jwk',
    key: { kty: 'RSA', e: 'AQAB', n: Buffer.alloc(544, 0xc5).toString('base64url') },
  }).export({ type: 'spki', format: 'der' }) as Buffer
).toString('base64')}`;

const dns = new FakeDns({
  '': {},
  'a.example': { TXT: ['v=spf1 ip4:198.51.100.0/24 -all'] },
  's._domainkey.a.example': { TXT: [KEY.record] },
  'short._domainkey.a.example': { TXT: [SHORT_KEY.record] },
  'long._domainkey.a.example': { TXT: [LONG_RECORD] },
  'huge._domainkey.a.example': { TXT: [`v=DKIM1; n=${'x'.repeat(16_000)}; ${KEY.record.slice(9)}`] },
  'flood._domainkey.a.example': { TXT: Array.from({ length: 250 }, () => 'x'.repeat(250)) },
  '_dmarc.a.example': { TXT: ['v=DMARC1; p=reject'] },
  'q.example': { TXT: ['v=spf1 -all'] },
  '_dmarc.q.example': { TXT: ['v=DMARC1; p=quarantine'] },
  '_dmarc.m.example': { TXT: ['v=DMARC1; p=quarantine'] },
  '_dmarc.n.example': { TXT: ['v=DMARC1; p=reject'] },
  'loop.example': { TXT: ['v=spf1 include:loop.example -all'] },
  'many.example': { TXT: [`v=spf1 ${Array.from({ length: 11 }, (_, i) => `a:a${i}.a.example`).join(' ')} -all`] },
  'void.example': { TXT: ['v=spf1 a:x1.example a:x2.example a:x3.example -all'] },
  'macro.example': { TXT: [`v=spf1 exists:${'%{l}.'.repeat(300)}a.example -all`] },
  'slow.example': {
    TXT: [`v=spf1 ${Array.from({ length: 9 }, (_, i) => `exists:%{i}.${i}.slow.example`).join(' ')} -all`],
  },
  'xn--bcher-kva.example': { TXT: ['v=spf1 ip4:198.51.100.0/24 -all'] },
});
for (let i = 0; i < 11; i++) dns.zone.set(`a${i}.a.example`, { A: ['203.0.113.1'] });
for (let i = 0; i < 9; i++) dns.zone.set(`198.51.100.10.${i}.slow.example`, { isSilent: true });

const FROM = 'From: A <a@a.example>\r\n';
const REST = 'To: b@b.example\r\nSubject: x\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@a.example>\r\n';
const PLAIN = `${FROM}${REST}\r\nhello\r\n`;
const FOREIGN = { source: '203.0.113.9' };

async function signed(text: string, selector = 's', secret = KEY.secret, more: object = {}): Promise<string> {
  const { signatures } = await dkimSign(text, {
    canonicalization: 'relaxed/relaxed',
    signatureData: [{ signingDomain: 'a.example', selector, privateKey: secret, ...more }],
  } as unknown as DKIMSignOptions);
  return signatures + text;
}

let filter: Filter<'body'>;
before(async () => {
  await dns.start();
  const set = await filtersOf(`auth.enabled = true\nauth.lookup = "500ms"\nresolver = ["${dns.address}"]`);
  filter = set.body.find(({ name }) => name === 'auth') as Filter<'body'>;
  // The first message of a thread waits for it to be compiled.
  await Promise.all([facts(PLAIN), facts(PLAIN)]);
});
after(() => {
  filter.close?.();
  dns.close();
});

type Found = {
  readonly classes: readonly string[];
  readonly line: string;
  readonly all: string;
  /** CPU of all threads: the machine may have other things to do */
  readonly ms: number;
};

async function facts(text: string | Buffer, about: Partial<Mail> = {}): Promise<Found> {
  const before = process.cpuUsage();
  const seen = await filter.look(mailOf(text, about), new Call());
  const { user, system } = process.cpuUsage(before);
  return {
    classes: seen.map((one) => one.class).filter((of) => of !== 'accepted.clean'),
    line: seen.at(-1)?.evidence ?? '',
    all: seen.map(({ evidence }) => evidence).join(' | '),
    ms: (user + system) / 1000,
  };
}

describe('facts', () => {
  test('all is well', async () => {
    const { classes, line } = await facts(await signed(PLAIN));
    assert.deepEqual(classes, []);
    assert.equal(line, 'spf=pass (a.example) dkim=pass (s._domainkey.a.example) dmarc=pass arc=none');
  });

  test('a host that the domain does not know, and no signature: SPF, and DMARC as the domain has it', async () => {
    assert.deepEqual((await facts(PLAIN, FOREIGN)).classes, ['auth.spf', 'auth.dmarc-reject']);
    const other = PLAIN.replaceAll('a.example', 'q.example');
    const found = await facts(other, { ...FOREIGN, sender: 'a@q.example' });
    assert.deepEqual(found.classes, ['auth.spf', 'auth.dmarc-quarantine']);
  });

  test('a signature that the message no longer has', async () => {
    const changed = (await signed(PLAIN)).replace('hello', 'hallo');
    assert.deepEqual((await facts(changed)).classes, ['auth.dkim']);
    assert.deepEqual((await facts(changed, FOREIGN)).classes, ['auth.spf', 'auth.dkim', 'auth.dmarc-reject']);
  });

  test('the null sender is looked up by HELO', async () => {
    assert.match((await facts(PLAIN, { sender: '', helo: 'a.example' })).line, /^spf=pass \(a\.example\)/);
  });

  test('dots of SMTP are undone before a body is hashed, in whatever pieces it came', async () => {
    const text = await signed(`${FROM}${REST}\r\n.\r\n..x\r\nhello\r\n`);
    assert.match((await facts(text.replaceAll('\r\n.', '\r\n..'))).line, /dkim=pass/);
  });
});

describe('Shows 3: 34: DKIM', () => {
  const body = `${'x'.repeat(70)}\r\n`.repeat(33_333);
  const bomb = (more: (i: number) => string, count: number): string =>
    Array.from(
      { length: count },
      (_, i) => `DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=AA; b=AA;${more(i)}\r\n`,
    ).join('');

  test('1,000 signatures with distinct l= over 2.4 MB: under 1 s, none of them is looked at', async () => {
    for (const count of [1000, 900]) {
      const { ms, classes, all } = await facts(`${bomb((i) => ` l=${i * 1000}`, count)}${FROM}${REST}\r\n${body}`);
      assert.ok(within(ms, 1000), `${ms} ms`);
      assert.deepEqual(classes, ['auth.unknown']);
      assert.match(all, count === 1000 ? /header that is too long/ : /a part of the body \(l=\)/);
    }
  });

  test('of many the newest eight are looked at, and four ways of hashing 2.4 MB take under 1 s', async () => {
    const text = `${FROM}${REST}\r\nhello\r\n`;
    const good = await signed(text);
    assert.match((await facts(`${bomb(() => '', 7)}${good}`)).line, /dkim=pass/);
    const ninth = await facts(`${bomb(() => '', 8)}${good}`, FOREIGN);
    assert.deepEqual(ninth.classes, ['auth.spf', 'auth.dkim', 'auth.unknown'], 'and DMARC is not said to fail');
    const ways = ['relaxed/simple', 'relaxed/relaxed', 'simple/simple', 'simple/relaxed'].flatMap((c) =>
      ['sha1', 'sha256'].map(
        (a) => `DKIM-Signature: v=1; a=rsa-${a}; c=${c}; d=a.example; s=s; h=from; bh=AA; b=AA\r\n`,
      ),
    );
    const { ms } = await facts(`${ways.join('')}${FROM}${REST}\r\n${body}`);
    assert.ok(within(ms, 1000), `${ms} ms`);
  });

  test('keys that are too short, too long, too talkative; answers of 64 kB', async () => {
    const of = async (selector: string, secret: string): Promise<string> =>
      (await facts(await signed(PLAIN, selector, secret))).line;
    assert.match(await of('short', SHORT_KEY.secret), /dkim=policy|dkim=permerror|dkim=fail/);
    assert.match(await of('huge', KEY.secret), /dkim=pass/);
    assert.match(await of('flood', KEY.secret), /dkim=(?:permerror|neutral|temperror)/);
    assert.match(await of('long', KEY.secret), /dkim=(?:fail|policy|permerror)/);
  });

  test('h= of 10,000 names, h= without From, x= in the past', async () => {
    const text = await signed(PLAIN);
    const long = text.replace(/ h=[^;]*;/, ` h=${'from:'.repeat(10_000)}to;`);
    assert.match((await facts(long)).all, /a signature that is too long/);
    assert.doesNotMatch((await facts(text.replace(/ h=[^;]*;/, ' h=To:Subject;'))).line, /dkim=pass/);
    const past = await signed(PLAIN, 's', KEY.secret, {
      expires: new Date(Date.now() - 3_600_000),
      signTime: new Date(Date.now() - 7_200_000),
    });
    const expired = past.includes('x=') ? past : text.replace(/; d=/, '; x=1000000000; d=');
    assert.doesNotMatch((await facts(expired)).line, /dkim=pass/);
  });

  test('a message that is larger than max_size, and a header that is larger than any', async () => {
    const large = await facts(`${await signed(PLAIN)}${'x'.repeat(70).concat('\r\n').repeat(160_000)}`);
    assert.deepEqual([large.classes, /body that is too large/.test(large.all)], [['auth.unknown'], true]);
    const wide = await facts(`${'X: y\r\n'.repeat(100_000)}${PLAIN}`, FOREIGN);
    assert.deepEqual(wide.classes, ['auth.spf', 'auth.unknown']);
  });
});

describe('Shows 3: 35: SPF', () => {
  for (const [domain, result] of [
    ['loop.example', 'permerror'],
    ['many.example', 'permerror'],
    ['void.example', 'permerror'],
    ['macro.example', 'fail|permerror|temperror'],
  ] as const) {
    test(`${domain}: ${result}, with few questions`, async () => {
      const before = dns.asked.length;
      const { line, ms } = await facts(PLAIN, { sender: `${'l'.repeat(60)}@${domain}` });
      assert.match(line, new RegExp(`^spf=(?:${result}) `));
      assert.ok(dns.asked.length - before <= 40, `${dns.asked.length - before} questions`);
      assert.ok(within(ms, 1000), `${ms} ms`);
    });
  }
});

test('Shows 3: 35: exists:%{i} with a name server that is slow: "temperror" after one look-up, or a failure at the deadline', async () => {
  const sender = 'l@slow.example';
  const { line } = await facts(PLAIN, { sender });
  assert.match(line, /^spf=temperror /);
  assert.equal(dns.asked.filter((name) => /^198.*\.slow\.example$/.test(name)).length, 1);
  const set = await filtersOf(
    `auth.enabled = true\nauth.lookup = "2s"\nauth.deadline = "600ms"\nauth.failure = "defer"\nresolver = ["${dns.address}"]`,
  );
  try {
    const { failed } = await lookAt(set, mailOf(PLAIN, { sender }));
    assert.deepEqual(failed, ['auth: Error: not done within 600 ms']);
    // Ours answers: it is not left alone for the silence of theirs.
    const own = set.body.find(({ name }) => name === 'auth') as Filter<'body'>;
    for (let i = 0; i < 5; i++) {
      const call = new Call();
      const look = own.look(mailOf(PLAIN, { sender }), call);
      call.end();
      await assert.rejects(async () => look);
    }
    assert.match((await own.look(mailOf(PLAIN), new Call())).at(-1)?.evidence ?? '', /^spf=/);
  } finally {
    closeFilters(set);
  }
});

describe('Shows 3: 36: ARC and DMARC', () => {
  const sealed = async (sets: number): Promise<string> => {
    let text = await signed(PLAIN);
    for (let i = 0; i < sets; i++) {
      const seal = { signingDomain: 'a.example', selector: 's', privateKey: KEY.secret };
      const { headers } = await authenticate(text, {
        ip: '198.51.100.10',
        helo: 'a.example',
        sender: 'a@a.example',
        mta: 'mx.a.example',
        seal,
        disableBimi: true,
        resolver: async (name, type) => {
          const found = dns.zone.get(name)?.[type as 'TXT'];
          if (!found) throw Object.assign(new Error('none'), { code: 'ENOTFOUND' });
          return type === 'TXT' ? found.map((one) => [one]) : [...found];
        },
      });
      text = headers
        .slice(headers.indexOf('ARC-'))
        .replace(/(?:^|\r\n)(?!ARC-|[ \t])[^\r]*(?:\r\n[ \t][^\r]*)*/g, '')
        .trimEnd()
        .concat('\r\n', text);
    }
    return text;
  };

  test('a chain that holds, one with a gap, one with 51 sets', async () => {
    const three = await sealed(3);
    assert.match((await facts(three)).line, /arc=pass/);
    assert.match((await facts(three.replace(/ARC-Seal: i=2;/, 'ARC-Seal: i=4;'))).line, /arc=fail/);
    const set = (i: number): string =>
      `ARC-Seal: i=${i}; a=rsa-sha256; cv=pass; d=a.example; s=s; b=AA\r\nARC-Message-Signature: i=${i}; a=rsa-sha256; d=a.example; s=s; h=from; bh=AA; b=AA\r\nARC-Authentication-Results: i=${i}; mx.a.example; none\r\n`;
    for (const sets of [50, 51]) {
      const { line, ms } = await facts(Array.from({ length: sets }, (_, i) => set(sets - i)).join('') + PLAIN);
      assert.match(line, /arc=fail/);
      assert.ok(within(ms, 1000), `${ms} ms`);
    }
  });

  for (const [what, from] of [
    ['two From fields', `${FROM}From: b@q.example\r\n`],
    [
      'From with 1,000 addresses',
      `From: ${Array.from({ length: 1000 }, (_, i) => `a${i}@d${i}.example`).join(',\r\n ')}\r\n`,
    ],
    ['From that is a group of authors of several domains', 'From: us: a@a.example, b@q.example;\r\n'],
    ['no From', ''],
  ] as const) {
    test(`${what}: suspicious, and not "none"`, async () => {
      const { classes, ms } = await facts(`${from}${REST}\r\nhello\r\n`);
      assert.deepEqual(classes, ['auth.author']);
      assert.ok(within(ms, 1000), `${ms} ms`);
    });
  }

  test('a name of letters beyond ASCII is looked up as the DNS has it', async () => {
    const text = Buffer.from(`From: a@bücher.example\r\n${REST}\r\nhello\r\n`).toString('latin1');
    const sender = Buffer.from('a@bücher.example').toString('latin1');
    assert.match((await facts(text, { sender })).line, /^spf=pass/);
  });
});

describe('Shows 4: name servers that hang, fail or send garbage', { concurrency: 3 }, () => {
  for (const behaviour of ['hang', 'servfail', 'garbage'] as const) {
    test(`${behaviour}: "temperror" and never "none", within the deadline; left alone when nobody answers; back by itself`, async () => {
      const server = await new FakeDns({ '': {}, 'a.example': { TXT: ['v=spf1 -all'] } }).start();
      const set = await filtersOf(
        `auth.enabled = true\nauth.lookup = "100ms"\nauth.deadline = "5s"\nresolver = ["${server.address}"]`,
      );
      const own = set.body.find(({ name }) => name === 'auth') as Filter<'body'>;
      const isUp = (): boolean => own.report?.().up === true;
      try {
        server.behaviour = behaviour;
        const first = await own.look(mailOf(PLAIN), new Call());
        assert.ok(
          first.some((one) => one.class === 'auth.unknown' && one.evidence.startsWith('spf')),
          JSON.stringify(first),
        );
        for (let i = 0; i < 4; i++) await own.look(mailOf(PLAIN), new Call());
        await assert.rejects(async () => own.look(mailOf(PLAIN), new Call()), /left alone/);
        assert.ok(!isUp());
        server.behaviour = 'answer';
        while (!isUp()) {
          await new Promise((resolve) => setTimeout(resolve, 50));
          await Promise.allSettled([own.look(mailOf(PLAIN), new Call())]);
        }
        assert.match((await own.look(mailOf(PLAIN), new Call())).at(-1)?.evidence ?? '', /^spf=fail/);
      } finally {
        own.close?.();
        server.close();
      }
    });
  }
});

test('Shows 1: each class of it through the gateway: reply, journal row and metric equal to the table', async () => {
  const actions = ['spf', 'dkim', 'dmarc_reject', 'dmarc_quarantine', 'author', 'unknown'];
  const config = await testConfig(['127.0.0.1:2'], {
    filters: [
      'auth.enabled = true',
      `resolver = ["${dns.address}"]`,
      'header.duplicate_from = "ignore"',
      ...actions.map((action) => `auth.${action} = "${action === 'unknown' ? 'defer' : 'reject'}"`),
    ].join('\n'),
  });
  const gateway = await startGateway({ config, relay: new FakeRelay() });
  const refusals: Told[] = [];
  const of = (domain: string): string => PLAIN.replaceAll('a.example', domain);
  const part = 'DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=AA; b=AA; l=1\r\n';
  try {
    for (const [expected, sender, text] of [
      ['auth.spf', 'a@q.example', of('q.example')],
      ['auth.dkim', 'a@a.example', (await signed(PLAIN)).replace('hello', 'hallo')],
      ['auth.dmarc-reject', 'a@n.example', of('n.example')],
      ['auth.dmarc-quarantine', 'a@m.example', of('m.example')],
      ['auth.author', 'a@a.example', `From: b@q.example\r\n${PLAIN}`],
      ['auth.unknown', 'a@a.example', part + PLAIN],
    ] as const) {
      const host = gateway.connect();
      const heard = hear(host);
      host.write(`EHLO a.example\r\nMAIL FROM:<${sender}>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n`);
      await heard.until(/^354 .*\r\n$/m);
      host.write(Buffer.from(`${text}.\r\nQUIT\r\n`, 'latin1'));
      const entry = entryOf(expected);
      const said = `${entry.code} ${enhancedCode(entry.code, entry)} ${entry.text} [${expected} id=`;
      assert.ok((await heard.end()).includes(`\r\n${said}`), `${said}: ${heard.text()}`);
      refusals.push(...told(heard.text().split('\r\n')));
      const attempt = gateway.ledger.attempts.at(-1);
      assert.deepEqual([attempt?.class, attempt?.verdict], [expected, verdictOf(expected).kind]);
      assert.match(attempt?.findings.find(({ name }) => name === 'facts')?.evidence ?? '', /^spf=/);
    }
    assert.equal(refusals.length, actions.length);
    await assertRecorded(gateway.ledger.attempts, refusals);
  } finally {
    await gateway.close();
  }
});
