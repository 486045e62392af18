import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { privacyText } from '../../../src/cli/privacy.ts';
import { parseConfig } from '../../../src/config/load.ts';
import type { Config } from '../../../src/config/schema.ts';

const BASE = `[gateway]
name = "gw1.example.net"
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["192.0.2.25:587"]
`;

async function configOf(text: string): Promise<Config> {
  const parsed = await parseConfig(`${BASE}${text}`, 'postern.toml');
  assert.ok(parsed.ok, parsed.ok ? '' : parsed.errors.map(({ message }) => message).join('\n'));
  return parsed.config;
}

test('every file that the keeper keeps is told of', async () => {
  const text = privacyText(await configOf('[[network]]\nname = "n"\nprefixes = ["198.51.100.0/24"]\n'));
  const roles = join(import.meta.dirname, '../../../src/roles');
  const sources = globSync('*.ts', { cwd: roles }).map((file) => readFileSync(join(roles, file), 'utf8'));
  const files = new Set(
    sources.flatMap((source) => [...source.matchAll(/join\(stateDir, '([\w.-]+)'\)/g)].map((match) => match[1] ?? '')),
  );
  assert.ok(files.size > 5);
  assert.deepEqual(
    [...files].filter((file) => !text.includes(`/var/lib/postern/${file}`)),
    [],
  );
});

test('each network with what is read and kept of it, subscribers that differ, and who else is given something', async () => {
  const text = privacyText(
    await configOf(`[journal]
keep = "7d"
[syslog]
server = "192.0.2.5:514"
fields = ["sender", "verdict"]
[[webhook]]
name = "desk"
url = "https://desk.example.net/hook?key=17"
secret_file = "/etc/postern/desk.secret"
events = ["refused"]
[[webhook]]
name = "locks"
url = "https://locks.example.net/"
secret_file = "/etc/postern/desk.secret"
[filters.rspamd]
server = "127.0.0.1:11333"
[filters.url_dns]
lists = ["uri.example.org test.example.org"]
[[network]]
name = "servers"
prefixes = ["198.51.100.0/24"]
[[network]]
name = "people"
prefixes = ["203.0.113.0/25"]
log = "hash"
content = "blind"
[[subscriber]]
name = "clinic"
prefixes = ["198.51.100.7"]
content = "blind"
log = "none"
`),
  );
  assert.match(text, /^ {2}servers +enforce +yes +as they are$/m);
  assert.match(text, /^ {2}people +enforce +no +as a keyed hash$/m);
  assert.match(text, /^ {2}clinic: log = "none" content = "blind"$/m);
  assert.match(text, /at most 7d/);
  assert.match(text, /Rspamd at 127\.0\.0\.1:11333 is given the message/);
  assert.match(text, /looked up in uri\.example\.org, by/);
  assert.match(text, /syslog server at 192\.0\.2\.5:514 \(udp\) is told of each: sender, verdict\.$/m);
  assert.match(text, /program "desk" at desk\.example\.net is told/);
  assert.match(text, /program "locks" at locks\.example\.net is told who was locked/);
  assert.doesNotMatch(text, /ClamAV|key=17|desk\.example\.net is told who/);
});
