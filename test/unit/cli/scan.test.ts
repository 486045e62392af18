/** `postern scan` on messages of every sort, with the filters of a configuration. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { command } from '../../../src/cli/scan.ts';
import { named, zipOf } from '../../kit/archives.ts';
import { goodMails } from '../../kit/good-mails.ts';
import { runCommand } from '../../kit/io.ts';
import { count, seed } from '../../kit/tier.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-scan-'));
after(() => rmSync(directory, { recursive: true }));
const config = join(directory, 'postern.toml');
writeFileSync(
  config,
  `[gateway]
name = "gw1.example.net"
help_url = "https://help.example/"
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["10.0.0.1:25"]
tls = "none"
[filters]
attachments.enabled = true
campaign.enabled = true
behaviour.enabled = true
[[network]]
name = "customers"
prefixes = ["198.51.100.0/24"]
[[network]]
name = "watched"
prefixes = ["203.0.113.0/24"]
mode = "observe"
[[network]]
name = "servers"
prefixes = ["192.0.2.128/25"]
senders = ["*@a.example"]
[[rule]]
name = "lottery"
body = "(?i)lottery"
action = "tag"
`,
);

function file(name: string, text: string): string {
  const path = join(directory, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text, 'latin1');
  return path;
}

const good = file('good.eml', 'From: a\nDate: b\n\nhello\n.\nafter a lone dot\n');
const bad = file('bad.eml', named('x.zip', zipOf([{ name: 'setup.exe', content: 'x' }])));
const scan = (...args: string[]) => runCommand(command, ['--config', config, ...args]);

test('one page for each message: what was found, and what the host would be told', async () => {
  const { status, out } = await scan(good, bad);
  assert.equal(status, 0);
  assert.equal(
    out,
    `${good}
  from 198.51.100.0 (network customers, mode enforce), HELO host.example, sender sender@host.example
  to recipient@example.com; 49 octets, lines ended anew
  nothing was found
  the scores come to 0
  it would go on to the next server, whose reply is the reply
${bad}
  from 198.51.100.0 (network customers, mode enforce), HELO host.example, sender sender@host.example
  to recipient@example.com; 493 octets
  found: attachments executable, score 0.8, attachment.executable -> reject: setup.exe in x.zip, level 1
  the scores come to 0.8
  the host would be told: 550 5.7.1 The message has a file that runs; put it elsewhere and send the address [attachment.executable id=ID https://help.example/attachment.executable]
`,
  );
});

test("the host's network decides, rules are tried, and what cannot be carried is said", async () => {
  const watched = await scan('--source', '203.0.113.9', bad);
  assert.match(watched.out, /network watched, mode observe[^]*mode "enforce" would refuse it: attachment\.executable/);
  const tagged = await scan(file('rule.eml', 'From: a\r\nDate: b\r\n\r\nthe Lottery\r\n'));
  assert.match(
    tagged.out,
    /found: rules lottery, score 0\.5, spam\.rule -> tag: body\n[^]*with X-Postern-Tag: spam\.rule; id=ID\n/,
  );
  const foreign = await scan('--source', '192.0.2.130', '--sender', 'a@b.example', good);
  assert.match(foreign.out, /the host would be told: 550 5\.7\.1 [^\n]*\[sender\.not-permitted id=ID/);
  const own = await scan('--source', '192.0.2.130', '--sender', 'a@a.example', good);
  assert.match(own.out, /it would go on/);
  const broken = await scan(file('nul.eml', 'From: a\r\n\r\n\0\r\n'));
  assert.match(broken.out, /it cannot be carried: 554 5\.6\.0 The message has a NUL octet/);
  const nowhere = await scan('--source', '192.0.2.1', good);
  assert.deepEqual([nowhere.status, nowhere.out], [1, '']);
  assert.match(nowhere.err, /^192\.0\.2\.1 is in no network/);
  assert.equal((await scan(join(directory, 'missing.eml'))).status, 1);
  await assert.rejects(scan(), /name files/);
});

test('a corpus: good messages that would be refused come first', async () => {
  const corpus = join(directory, 'corpus');
  file('corpus/ham/1.eml', 'From: a\nDate: b\n\nhello\n');
  file('corpus/spam/2.eml', named('x.exe', 'x'));
  file('corpus/spam/3.eml', 'From: a\nDate: b\n\nthe lottery\n');
  const first = await scan('--corpus', corpus);
  assert.equal(first.status, 0);
  assert.match(first.out, /attachments +0 +0 +1 +1\n/);
  assert.match(first.out, /rules +0 +0 +0 +1\n/);
  assert.match(first.out, /0 of 1 good messages refused, 1 of 2 bad ones\./);
  file('corpus/year/ham/4.eml', named('tool.js', 'x'));
  const second = await scan('--corpus', corpus);
  assert.equal(second.status, 1);
  assert.match(second.out, /attachments +1 +1 +1 +1\n/);
  assert.match(second.out, /good, and refused: .*4\.eml: attachment\.executable\n/);
});

test('Shows 5: zero ham refused by any one filter alone on the mails that the tests ship', async () => {
  const top = join(directory, 'shipped');
  const rule = (name: string, text: string): string => `[[rule]]\nname = "${name}"\naction = "reject"\n${text}\n`;
  const all = join(directory, 'all.toml');
  writeFileSync(join(directory, 'urls.txt'), 'bad.example\n');
  writeFileSync(
    all,
    `[gateway]
name = "gw1.example.net"
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["10.0.0.1:25"]
tls = "none"
[filters]
attachments.enabled = true
urls.files = ["${join(directory, 'urls.txt')}"]
[[network]]
name = "customers"
prefixes = ["198.51.100.0/24"]
score_reject = 1
${rule('lottery', "body = '(?i)you have won'")}${rule('names', "attachment = '(?i)invoice.*\\.html?$'")}`,
  );
  const good = goodMails(seed, count(60, 2000));
  for (const [i, text] of good.entries()) file(`shipped/ham/${i}.eml`, text);
  file('shipped/spam/1.eml', named('x.zip', zipOf([{ name: 'setup.exe', content: 'x' }])));
  file('shipped/spam/2.eml', 'From: a\r\nDate: b\r\n\r\nhttp://www.bad.example/\r\n');
  file('shipped/spam/3.eml', 'From: a\r\nDate: b\r\n\r\nYou have won\r\n');
  file('shipped/spam/4.eml', 'From: a\r\nFrom: b\r\nDate: b\r\n\r\nhello\r\n');
  const { status, out } = await runCommand(command, ['--config', all, '--corpus', top]);
  assert.equal(status, 0, out);
  assert.match(out, new RegExp(`^0 of ${good.length} good messages refused, 4 of 4 bad ones\\.$`, 'm'));
  for (const filter of ['attachments', 'urls', 'rules', 'header'])
    assert.match(out, new RegExp(`^${filter} +0 +\\d+ +1 +1$`, 'm'), out);
});
