/** The commands that ask the keeper, each as a person types it, against a real keeper. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { UsageError } from '../../../src/cli/command.ts';
import { command as ca } from '../../../src/cli/ca.ts';
import { command as explain } from '../../../src/cli/explain.ts';
import { command as lock } from '../../../src/cli/lock.ts';
import { command as locks } from '../../../src/cli/locks.ts';
import { command as log } from '../../../src/cli/log.ts';
import { command as mode } from '../../../src/cli/mode.ts';
import { command as scan } from '../../../src/cli/scan.ts';
import { command as sources } from '../../../src/cli/sources.ts';
import { command as status } from '../../../src/cli/status.ts';
import { command as top } from '../../../src/cli/top.ts';
import { command as unlock } from '../../../src/cli/unlock.ts';
import { command as verifying } from '../../../src/cli/verifying.ts';
import { newId } from '../../../src/kit/ids.ts';
import { type Class, classes } from '../../../src/policy/classes.ts';
import { hostile, RAW_CONTROL } from '../../kit/hostile.ts';
import { runCommand, type Said } from '../../kit/io.ts';
import { stageKeeper, type Stage } from '../../kit/keeper.ts';
import { until } from '../../kit/wait.ts';
import { attempt, kernelReport } from '../ledger/sample.ts';

let s: Stage;
const id = newId(1_700_000_000_000);
const session = newId(1_700_000_000_001);

before(async () => {
  s = await stageKeeper();
  await s.log.seen('journal.ok');
  const worker = s.worker(1);
  const now = Date.now();
  worker.record(
    attempt({
      id,
      session,
      at: now - 5 * 60_000,
      verdict: 'reject',
      class: 'spam.gtube',
      verdictMs: 12,
      totalMs: 1400,
      reply: '550 5.7.1 The message has the test string for spam filters',
      upstream: undefined,
      upstreamReply: undefined,
      relayMs: undefined,
      recipients: [
        { recipient: '<bob@b.example>', code: 250, class: 'accepted.clean' },
        { recipient: '<carol@c.example>', code: 550, class: 'upstream.reply' },
      ],
      findings: [{ filter: 'gtube', name: 'gtube', score: 1, evidence: 'XJS*C4JDBQADN1' }],
    }),
  );
  worker.record(attempt({ id: newId(now), session, at: now - 3 * 3_600_000, source: '2001:db8:1:2::7', sender: '<>' }));
  hostile.forEach((text, n) =>
    worker.record(
      attempt({ id: `HOSTILE${n}`, at: now - 86_400_000, helo: text, sender: text, reply: text, upstreamReply: text }),
    ),
  );
  await until(
    () => s.log.events().filter((event) => event === 'attempt').length === hostile.length + 2,
    'all are recorded',
  );
  while ((await run(log, '--limit', '100', '--json')).out.trim().split('\n').length < hostile.length + 2);
});
after(() => s.close());

function run(command: Parameters<typeof runCommand>[0], ...args: string[]): Promise<Said> {
  return runCommand(command, [...args, '--run-dir', s.place.runDir]);
}

test('lock, locks, unlock', async () => {
  const locked = await run(lock, '198.51.100.7', '--reason', 'spam run\x1b[2J', '--for', '2h');
  assert.equal(locked.status, 0);
  assert.match(
    locked.out,
    /^198\.51\.100\.7\/32 is locked until \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: every recipient is refused with 550\n$/,
  );
  const v6 = await run(lock, '2001:db8:1:2::7', '--reason', 'x', '--how', 'kernel');
  assert.match(v6.out, /^2001:db8:1:2::\/64 is locked until "postern unlock": the kernel refuses its connections\n$/);
  const alone = await run(lock, '2001:db8:1:3::7/128', '--reason', 'x', '--how', 'defer');
  assert.match(alone.out, /^2001:db8:1:3::7\/128 is locked .* put off with 450\n$/);

  const list = await run(locks);
  assert.equal(list.status, 0);
  assert.match(list.out, /^SUBJECT +HOW +SINCE +UNTIL +BY +REASON\n198\.51\.100\.7\/32 +reject +.*spam run\\x1b\[2J\n/);
  assert.doesNotMatch(list.out, RAW_CONTROL);
  const json = (await run(locks, '--json')).out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { subject: string });
  assert.deepEqual(
    json.map(({ subject }) => subject),
    ['198.51.100.7/32', '2001:db8:1:2::/64', '2001:db8:1:3::7/128'],
  );

  for (const { subject } of json) assert.equal((await run(unlock, subject)).status, 0);
  assert.equal((await run(locks)).out, 'nothing is locked\n');
  const again = await run(unlock, '198.51.100.7');
  assert.deepEqual(
    [again.status, again.err],
    [1, 'postern unlock: 198.51.100.7/32 is not locked; "postern locks" lists what is\n'],
  );
});

test('rules are tried on what the journal has, before they are in effect', async () => {
  const path = join(s.place.runDir, '../rules.toml');
  const rule = (name: string, text: string): string => `[[rule]]\nname = "${name}"\naction = "reject"\n${text}\n`;
  writeFileSync(
    path,
    [
      readFileSync(s.place.configPath, 'utf8'),
      rule('to-carol', "recipient = '^carol@c\\.example$'"),
      rule('all', "helo = '^host'\nrecipient = '@b\\.example$'"),
      rule('none', "sender = 'nobody@'"),
      rule('text', "sender = '@'\nbody = 'lottery'"),
    ].join('\n'),
  );
  const { status: ended, out } = await runCommand(scan, ['--config', path, '--journal', '--since', '4h']);
  assert.equal(ended, 0);
  assert.match(out, /^to-carol +reject +1 +0 *$/m);
  assert.match(out, /^all +reject +2 +1 +\w{16}$/m);
  assert.match(out, /^none +reject +0 +0 *$/m);
  assert.match(out, /^text +reject +looks at body: try it on files$/m);
  assert.match(out, /^2 messages of the journal; 0 attempts had no address that is kept\.$/m);
  await assert.rejects(runCommand(scan, ['--config', path]), UsageError);
});

test('top and scan --journal are looks, and are written down', async () => {
  await run(top, '--by', 'sender', '--limit', '7');
  await runCommand(scan, ['--config', s.place.configPath, '--journal', '--since', '4h']);
  const lines = readFileSync(join(s.place.stateDir, 'audit.jsonl'), 'utf8').trim().split('\n').slice(-2);
  assert.match(lines[0] ?? '', /"what":"top","about":"\{\\"by\\":\\"sender\\",/);
  assert.match(lines[1] ?? '', /"what":"log","about":"\{\\"since\\":\d+,\\"limit\\":10000\}"/);
});

test('lock, locks --history, unlock of an identity', async () => {
  const { out } = await run(lock, '198.51.100.7', '--identity', 'bob', '--reason', 'password stolen', '--how', 'defer');
  assert.equal(
    out,
    'bob at 198.51.100.7/32 is locked until "postern unlock": each of its messages is put off with 451\n',
  );
  assert.match((await run(locks)).out, /^bob at 198\.51\.100\.7\/32 +defer /m);
  assert.match((await run(unlock, '198.51.100.7')).err, /is not locked/);
  assert.match(
    (await run(unlock, '198.51.100.7', '--identity', 'bob')).out,
    /^bob at 198\.51\.100\.7\/32 may send again/,
  );
  const history = (await run(locks, '--history')).out.split('\n');
  assert.match(String(history[1]), /unlocked +bob at 198\.51\.100\.7\/32 +defer .* password stolen$/);
  assert.match(String(history[2]), / locked +bob at /);
  await assert.rejects(run(lock, '198.51.100.7', '--identity', 'bob', '--how', 'kernel', '--reason', 'x'), UsageError);
  assert.match((await run(lock, '@nobody', '--reason', 'x')).err, /there is no @nobody in the configuration/);
});

test('mode moves, lists, takes back and remembers', async () => {
  assert.equal((await run(mode)).out, 'everybody has the mode of the configuration\n');
  const moved = await run(mode, '2001:db8:1:2::7', 'block', '--reason', 'spam run\x1b[2J', '--for', '2h');
  assert.match(moved.out, /^2001:db8:1:2::\/64 is in mode block until \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ\n$/);
  await run(mode, '198.51.100.77', 'exempt', '--reason', 'monitoring');
  const list = (await run(mode)).out;
  assert.match(
    list,
    /^2001:db8:1:2::\/64 +block +.*spam run\\x1b\[2J\n@quiet +exempt +.* taken back +\S+ +monitoring\n$/m,
  );
  assert.match(
    (await run(status)).out,
    /! network customers \(subscribers\) is exempt, not intercepted: 198\.51\.100\.77\/32/,
  );
  assert.equal((await run(mode, '@quiet', 'back')).out, '@quiet has the mode of the configuration again\n');
  assert.match(
    (await run(mode, '@quiet', 'back')).err,
    /@quiet has the mode of the configuration; "postern mode" lists/,
  );
  assert.match((await run(mode, '192.0.2.1', 'block', '--reason', 'x')).err, /192\.0\.2\.1 is in no network/);
  await run(mode, '2001:db8:1:2::8', 'back');
  const history = (await run(mode, '--history')).out.split('\n');
  assert.match(String(history[1]), /taken-back +2001:db8:1:2::\/64 +block /);
  assert.match(String(history[2]), /taken-back +@quiet +exempt /);
  for (const args of [
    ['198.51.100.7'],
    ['198.51.100.7', 'closed', '--reason', 'x'],
    ['198.51.100.7', 'block'],
    ['198.51.100.0/24', 'block', '--reason', 'x'],
    ['198.51.100.7', 'block', '--reason', 'x', '--for', 'ever'],
  ])
    await assert.rejects(run(mode, ...args), UsageError);
});

test('top sums up by what is asked for', async () => {
  const by = async (...args: string[]): Promise<string> => (await run(top, ...args)).out;
  assert.match(
    await by('--since', '7d'),
    /^SUBSCRIBER +ATTEMPTS +ACCEPTED +DEFERRED +REJECTED +SPAM +OPAQUE +FIRST +LAST\n198\.51\.100\.7 +\d+ +\d+ +0 +1 +1 +0 /,
  );
  assert.match(await by('--by', 'class', '--since', '2h'), /^CLASS.*\nspam\.gtube +1 +0 +0 +1 +1 /);
  assert.match(await by('--class', 'spam', '--csv'), /^who,attempts,.*\n198\.51\.100\.7,1,0,0,1,1,0,2/);
  const [first] = (await by('--by', 'source', '--since', '7d', '--json')).split('\n');
  assert.equal((JSON.parse(String(first)) as { who: string }).who, '198.51.100.7');
  assert.deepEqual(await run(top, '--by', 'source', '--class', 'virus'), {
    status: 1,
    out: '',
    err: 'nothing found\n',
  });
  for (const args of [
    ['--by', 'colour'],
    ['--class', 'none'],
    ['--limit', '0'],
    ['--since', 'x'],
  ])
    await assert.rejects(run(top, ...args), UsageError);
});

for (const [args, message] of [
  [[], /name one address or prefix/],
  [['198.51.100.7', '198.51.100.8', '--reason', 'x'], /name one address or prefix/],
  [['198.51.100.7'], /--reason TEXT is needed/],
  [['198.51.100.7', '--reason', '  '], /--reason TEXT is needed/],
  [['198.51.100.7', '--reason', 'x'.repeat(201)], /more than 200 characters/],
  [['198.51.100.7', '--reason', 'x', '--how', 'drop'], /--how is reject, defer or kernel, not "drop"/],
  [['198.51.100.7', '--reason', 'x', '--for', '2 hours'], /--for takes a time such as 30m/],
  [['198.51.100.7', '--reason', 'x', '--for', '0s'], /--for takes a time such as 30m/],
  [['0.0.0.0/0', '--reason', 'x'], /too wide/],
  [['::/0', '--reason', 'x'], /too wide/],
  [['127.0.0.1', '--reason', 'x'], /gateway itself/],
  [['198.51.100.7/24', '--reason', 'x'], /without host bits/],
  [['mail.example.net', '--reason', 'x'], /no address and no prefix/],
] as const) {
  test(`lock ${args.join(' ').slice(0, 50)}: wrong arguments, said how`, async () => {
    await assert.rejects(
      run(lock, ...args),
      (error: unknown) => error instanceof UsageError && message.test(error.message),
    );
    assert.deepEqual(await s.ask({ of: 'locks' }), []);
  });
}

test('log shows attempts newest first, and finds by each filter', async () => {
  const first = await run(log, '--limit', '2');
  assert.equal(first.status, 0);
  assert.match(
    first.out,
    new RegExp(
      `^TIME +ID +SOURCE +SENDER +RECIPIENT +VERDICT +CLASS\\n.* ${id} +198\\.51\\.100\\.7 +alice@a\\.example +bob@b\\.example \\+1 +reject +spam\\.gtube\\n.* <> `,
    ),
  );
  assert.match(first.err, /^only the newest 2 are shown/);
  const lines = async (...args: string[]): Promise<number> => {
    const { status: code, out } = await run(log, ...args, '--json', '--limit', '1000');
    return code === 0 ? out.trim().split('\n').length : 0;
  };
  assert.equal(await lines('--since', '10m'), 1);
  assert.equal(await lines('--since', '4h', '--until', '10m'), 1);
  assert.equal(await lines('--since', '2001-01-01', '--until', '2001-01-02T00:00Z'), 0);
  assert.equal(await lines('--source', '2001:DB8:1:2:0::7'), 1);
  assert.equal(await lines('--source', '2001:db8::/32'), 1);
  assert.equal(await lines('--sender', 'ALICE@a.example'), 1);
  assert.equal(await lines('--sender', '<>'), 1);
  assert.equal(await lines('--recipient', 'carol@c.example'), 1);
  assert.equal(await lines('--class', 'spam'), 1);
  assert.equal(await lines('--class', 'upstream.reply'), 1);
  assert.equal(await lines('--id', id.toLowerCase()), 1);
  assert.equal(await lines('--id', session), 2);
  const nothing = await run(log, '--sender', 'nobody@a.example');
  assert.deepEqual(nothing, { status: 1, out: '', err: 'nothing found\n' });
});

test('log --json gives every field; hostile text is a line of JSON like any other, and safe in the table', async () => {
  const { out } = await run(log, '--json', '--limit', '100');
  assert.doesNotMatch(out, RAW_CONTROL);
  const [newest] = out
    .split('\n')
    .map((line) => (line === '' ? undefined : (JSON.parse(line) as Record<string, unknown>)));
  assert.equal(newest?.['class'], 'spam.gtube');
  assert.equal((newest['findings'] as { evidence: string }[] | undefined)?.[0]?.evidence, 'XJS*C4JDBQADN1');
  const human = await run(log, '--limit', '100');
  assert.doesNotMatch(human.out, RAW_CONTROL);
  assert.equal(human.out.trim().split('\n').length, hostile.length + 3);
});

for (const [args, message] of [
  [['--since', 'yesterday'], /--since takes a time ago such as "2h"/],
  [['--until', '2026-13-45'], /--until takes a time ago/],
  [['--source', 'example.net'], /--source is an address or a prefix/],
  [['--class', 'spm'], /there is no class "spm"/],
  [['--limit', '0'], /--limit is a number from 1 to 10000/],
  [['--limit', 'all'], /--limit is a number/],
] as const) {
  test(`log ${args.join(' ')}: wrong arguments, said how`, async () => {
    await assert.rejects(
      run(log, ...args),
      (error: unknown) => error instanceof UsageError && message.test(error.message),
    );
  });
}

test('explain tells the story of an id, also as it was read out over the telephone', async () => {
  const { status: code, out } = await run(explain, id);
  assert.equal(code, 0);
  for (const line of [
    '  198.51.100.7 port 40001 called 203.0.113.25 port 25;',
    `  worker 1 took it: network customers, mode enforce, session ${session}.`,
    '  It said EHLO host.example.',
    '  MAIL from alice@a.example.',
    '  RCPT to bob@b.example: 250, accepted by the smarthost.',
    '  RCPT to carol@c.example: 550, upstream.reply.',
    '  Filter gtube found gtube (score 1): XJS*C4JDBQADN1.',
    '  The filters took 12 ms.',
    '  The message was refused by us: spam.gtube.',
    '  The host was told: 550 5.7.1 The message has the test string for spam filters',
    '  End: reject, spam.gtube, 1.4 s in all.',
    `  spam.gtube: ${classes['spam.gtube'].doc}`,
  ]) {
    assert.ok(out.split('\n').includes(line), `${line}\nis missing in\n${out}`);
  }
  assert.equal((await run(explain, `id=${id.toLowerCase().replaceAll('0', 'o').replaceAll('1', 'l')}`)).out, out);
  for (const pasted of [
    [`[spam.gtube id=${id} https://mail.example.net/postern/spam.gtube]`],
    ['[spam.gtube', `id=${id}`, 'https://mail.example.net/postern/spam.gtube]'],
    [`550 5.7.1 The message has the test string for spam filters [spam.gtube id=${id} https://x.example/spam.gtube]`],
  ])
    assert.equal((await run(explain, ...pasted)).out, out, pasted.join(' '));
  const whole = await run(explain, session);
  assert.equal(whole.out.match(/^\d{4}-/gm)?.length, 2, 'a session tells all of its attempts');
});

test('explain knows every class, main class and code', async () => {
  for (const name of Object.keys(classes) as Class[]) {
    const { status: code, out } = await runCommand(explain, [name]);
    assert.equal(code, 0);
    assert.ok(out.includes(classes[name].doc) && out.includes(`${classes[name].code} `), name);
  }
  const spam = await runCommand(explain, ['body']);
  assert.equal(
    spam.out.match(/^body\./gm)?.length,
    Object.keys(classes).filter((name) => name.startsWith('body.')).length,
  );
  const code = await runCommand(explain, ['452']);
  assert.deepEqual(
    code.out.match(/^\S+\.\S+$/gm),
    (Object.keys(classes) as Class[]).filter((name) => classes[name].code === 452),
  );
  const none = await runCommand(explain, ['559']);
  assert.deepEqual([none.status, none.out], [1, '']);
  assert.match(none.err, /far side's own/);
});

test('explain of what is nothing, or of nothing that is known', async () => {
  await assert.rejects(run(explain), UsageError);
  await assert.rejects(run(explain, 'a', 'b'), UsageError);
  await assert.rejects(
    run(explain, 'no-such-thing\x1b'),
    (error: unknown) => error instanceof UsageError && !error.message.includes('\x1b'),
  );
  const unknown = await run(explain, newId(1));
  assert.equal(unknown.status, 1);
  assert.match(unknown.err, /the journal has nothing of /);
});

test('the stories of hostile hosts are safe to show', async () => {
  const { story } = await import('../../../src/cli/explain.ts');
  for (const text of hostile) {
    const told = story(
      attempt({
        helo: text,
        sender: text,
        reply: text,
        upstreamReply: text,
        recipients: [{ recipient: text, code: 550, class: 'upstream.reply' }],
        findings: [{ filter: text, name: text, score: 0, evidence: text }],
        class: 'gone.since' as Class,
      }),
    );
    assert.doesNotMatch(told, RAW_CONTROL);
    assert.equal(told.split('\n').length, 13, told.slice(0, 300));
  }
});

test('ca prints the certificate and no key; --rotate makes another, and says who wanted it', async () => {
  const first = await run(ca);
  assert.equal(first.status, 0);
  assert.match(first.out, /^-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----\n$/);
  assert.deepEqual(await run(ca), first);
  const second = await run(ca, '--rotate');
  assert.notEqual(second.out, first.out);
  assert.deepEqual(await run(ca), second);
  assert.ok(String((await s.log.seen('ca.rotated'))['who']).length > 0);
});

test('status: exit 1 while the guard is silent, 0 when it says all is well', async () => {
  const before = await run(status);
  assert.equal(before.status, 1);
  assert.match(before.out, /^Intercepting: NO: the guard has not reported yet/m);
  assert.match(before.out, /^ {2}! destination 192\.0\.2\.10\/32 is never intercepted: our own MX$/m);
  const guard = await s.speaker({ kind: 'hello', v: 6, role: 'guard' });
  guard.peer.send({ kind: 'kernel', report: kernelReport() });
  let now = await run(status, '--json');
  while (now.status !== 0) now = await run(status, '--json');
  const value = JSON.parse(now.out) as { intercepting: boolean; networks: { name: string }[] };
  assert.equal(value.intercepting, true);
  assert.deepEqual(
    value.networks.map(({ name }) => name),
    ['customers', 'discreet', 'silent'],
  );
  const inside = ['lan0', 'lna0'].map((name) => ({ interface: name, present: name === 'lan0' }));
  guard.peer.send({ kind: 'kernel', report: kernelReport({ inside }) });
  while (now.status === 0) now = await run(status);
  assert.match(now.out, /^Intercepting: yes/m);
  assert.match(now.out, /^Ways round:\n {2}! interface lna0 does not exist: what comes in elsewhere/m);
  await guard.peer.close();
});

test('the keeper is found through the configuration as well', async () => {
  const { status: code, out } = await runCommand(locks, ['--config', s.place.configPath]);
  assert.deepEqual([code, out], [0, 'nothing is locked\n']);
});

test('a mistake in the configuration does not hide the gateway: one line on standard error, and the answer', async () => {
  const good = readFileSync(s.place.configPath, 'utf8');
  const path = join(s.place.dir, 'edited.toml');
  const args = ['--config', path] as const;
  for (const [text, said] of [
    [
      good.replace('inside =', 'insdie ='),
      /^postern NAME: the configuration has a mistake: .*insdie.*did you mean "inside"\?/,
    ],
    [good.replace('["lan0"]', '["lan0"'), /^postern NAME: the configuration has a mistake: .*: expected TOML; /],
    [good.replace('["lan0"]', '[1]').replace('192.0.2.10/32', 'x'), /has 2 mistakes, the first: .*intercept\.inside/],
  ] as const) {
    writeFileSync(path, text);
    for (const [command, more, code] of [
      [locks, [], 0],
      [status, ['--json'], 1],
      [log, ['--limit', '1', '--json'], 0],
      [lock, ['198.51.100.9', '--reason', 'x'], 0],
      [unlock, ['198.51.100.9'], 0],
      [explain, [id], 0],
    ] as const) {
      const { status: ended, out, err } = await runCommand(command, [...more, ...args]);
      assert.equal(ended, code, `${command.name}: ${err}`);
      assert.notEqual(out, '');
      const [line = '', ...rest] = err.split('\n').filter((each) => !each.startsWith('only the newest'));
      assert.deepEqual(rest, ['']);
      assert.match(line, new RegExp(said.source.replace('NAME', command.name)));
      assert.ok(line.endsWith(`; asking the gateway in ${s.place.runDir}`), line);
    }
  }
});

test('a mistake in run_dir itself: which, and what to do', async () => {
  const path = join(s.place.dir, 'edited.toml');
  const good = readFileSync(s.place.configPath, 'utf8');
  writeFileSync(path, good.replace('[gateway]', 'x = 1\n[gateway]').replace(/run_dir = .*/, 'run_dir = 7'));
  const { status: code, out, err } = await runCommand(locks, ['--config', path]);
  assert.deepEqual([code, out], [1, '']);
  assert.match(
    err,
    /^postern locks: gateway\.run_dir cannot be read: \S+edited\.toml:\d+: gateway\.run_dir = 7: expected .*; name another file with --config, or the directory with --run-dir\n$/,
  );
});

test('a keeper that is not there, and a configuration that says nothing: the error says what to do', async () => {
  const empty = join(s.place.dir, 'empty');
  for (const [command, args] of [
    [status, []],
    [locks, []],
    [log, []],
    [lock, ['198.51.100.7', '--reason', 'x']],
    [unlock, ['198.51.100.7']],
    [explain, [newId(1)]],
  ] as const) {
    const said = await runCommand(command, [...args, '--run-dir', empty]);
    assert.deepEqual([said.status, said.out], [1, '']);
    assert.match(
      said.err,
      new RegExp(
        `^postern ${command.name}: the keeper at ${empty}/keeper\\.sock cannot be asked: nobody listens there: start the gateway`,
      ),
    );
  }
  const lost = await runCommand(status, ['--config', join(empty, 'postern.toml')]);
  assert.equal(lost.status, 1);
  assert.equal(
    lost.err,
    `postern status: the configuration file ${empty}/postern.toml cannot be read: there is no such file; name another file with --config, or the directory with --run-dir\n`,
  );
  rmSync(empty, { recursive: true, force: true });
});

test('every command has help with an example, and takes no unknown option', async () => {
  for (const command of [status, lock, unlock, locks, log, explain]) {
    assert.match(command.help, new RegExp(`^Usage: postern ${command.name}\\b`));
    assert.match(command.help, /^Examples?: +postern /m);
    assert.ok(
      command.help.split('\n').every((line) => line.length <= 125),
      command.name,
    );
    await assert.rejects(run(command, '--no-such-option'), { code: 'ERR_PARSE_ARGS_UNKNOWN_OPTION' });
  }
});

test('sources lists who sends, since when, how much, to how many domains', async () => {
  const worker = s.worker(4);
  await worker.ready;
  const at = Date.now() - 1000;
  const of = { source: '198.51.100.66', subscriber: undefined, sizeBytes: 1000, worker: 4 };
  const to = (...all: string[]) => all.map((recipient) => ({ recipient, code: 250, class: 'accepted.clean' as const }));
  worker.record(attempt({ ...of, id: newId(at), at, recipients: to('<a@b.example>', '<b@B.example>') }));
  const observed = { class: 'accepted.observed', wouldBe: 'spam.gtube' } as const;
  worker.record(attempt({ ...of, id: newId(at), at: at + 1, recipients: to('<c@c.example>'), ...observed }));
  const refused = { class: 'spam.gtube', verdict: 'reject' } as const;
  worker.record(attempt({ ...of, id: newId(at), at: at + 2, recipients: to('<d@d.example>'), ...refused }));
  const row = /^198\.51\.100\.66 +customers +\S+ \S+ +\S+ \S+ +2 +4 +2\.0 KiB +3 +2 +0 +1 +1$/m;
  while (!row.test((await run(sources)).out));
  assert.equal((await run(sources, '--limit', '1', '--json')).out.trim().split('\n').length, 1);
  assert.equal((await run(sources, '--since', '2100-01-01')).status, 1);
});

test('who refuses our certificate is remembered, told to workers, counted, listed and forgotten', async () => {
  const worker = s.worker(2);
  await worker.ready;
  assert.match((await run(verifying)).out, /^no host has refused/);
  const [subject, server] = ['198.51.100.8', '203.0.113.25:25'];
  const of = { at: Date.now(), source: subject, destination: '203.0.113.25', destinationPort: 25, sender: undefined };
  const ends = (how: Class, verdict: 'accept' | 'defer', sizeBytes = 0): void =>
    worker.record(attempt({ ...of, id: newId(Date.now()), class: how, verdict, sizeBytes }));
  assert.ok(!worker.isVerifying(subject, server));
  ends('tls.client-refused', 'defer');
  await until(() => worker.isVerifying(subject, server), 'it is remembered');
  ends('tls.opaque', 'accept', 3000);
  while (!/^198\.51\.100\.8 +203\.0\.113\.25:25 .* 1 +2\.9 KiB$/m.test((await run(verifying)).out));
  const listed = JSON.parse((await run(verifying, '--json')).out) as { since: number; until: number };
  assert.equal(listed.until - listed.since, 86_400_000);
  const shareIsShown = /^198\.51\.100\.8 +2 +1 +1 +0 +0 +1 \(50%\) /m;
  while (!shareIsShown.test((await run(top)).out));
  const later = s.worker(3);
  await later.ready;
  await until(() => later.isVerifying(subject, server), 'who comes later is told');
  assert.equal((await run(verifying, '--forget', subject, server)).status, 0);
  await until(() => !worker.isVerifying(subject, server), 'it is forgotten');
  assert.match((await run(verifying, '--forget', subject, server)).err, /is not remembered for 203\.0\.113\.25:25/);
  await assert.rejects(run(verifying, '--forget', subject), UsageError);
  // One that only pretended to is intercepted again.
  ends('tls.client-refused', 'defer');
  await until(() => worker.isVerifying(subject, server), 'it is remembered');
  ends('tls.clear', 'defer');
  await until(() => !worker.isVerifying(subject, server), 'it is forgotten');
});

test('a server that had TLS is told to every worker, for its time', async () => {
  const [one, two] = [s.worker(4), s.worker(5)];
  await Promise.all([one.ready, two.ready]);
  const server = '203.0.113.99:25';
  const of = { id: newId(Date.now()), at: Date.now(), egress: 'preserve', upstream: server } as const;
  one.record(attempt({ ...of, upstreamTls: 'clear' }));
  one.record(attempt({ ...of, id: newId(Date.now()), egress: 'smarthost', upstreamTls: 'TLSv1.3' }));
  one.record(attempt({ ...of, id: newId(Date.now()), upstream: '203.0.113.98:25', upstreamTls: 'TLSv1.2' }));
  await until(() => two.hadTls('203.0.113.98:25'), 'the other worker is told');
  assert.ok(!two.hadTls(server));
  one.record(attempt({ ...of, id: newId(Date.now()), upstreamTls: 'TLSv1.3 dane' }));
  await until(() => one.hadTls(server) && two.hadTls(server), 'both are told');
  const later = s.worker(6);
  await later.ready;
  await until(() => later.hadTls(server), 'who comes later is told');
});
