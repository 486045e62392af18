import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { command, unitErrors, unitFiles } from '../../../src/cli/units.ts';
import { parseConfig } from '../../../src/config/load.ts';
import type { Config } from '../../../src/config/schema.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-units-'));
after(() => rmSync(directory, { recursive: true }));

function text(gateway: string, intercept = ''): string {
  return `[gateway]
name = "gw1.example.net"
${gateway}
[intercept]
inside = ["lan0"]
${intercept}
[smarthost]
servers = ["smtp.example.net:587"]
[[network]]
name = "customers"
prefixes = ["198.51.100.0/24"]
`;
}

async function configOf(gateway: string, intercept = ''): Promise<Config> {
  const loaded = await parseConfig(text(gateway, intercept), 'test.toml');
  if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join('\n'));
  return loaded.config;
}

const systemdFile = (name: string): string => readFileSync(join(import.meta.dirname, '../../../systemd', name), 'utf8');

test('as many workers as configured; where nothing differs from the units, nothing else', async () => {
  const files = unitFiles(await configOf('workers = 2'));
  assert.deepEqual(
    files.map((file) => [file.path, 'link' in file && file.link]),
    [1, 2].flatMap((n) =>
      ['socket', 'service'].map((kind) => [
        `postern.target.wants/postern-worker@${n}.${kind}`,
        `/usr/lib/systemd/system/postern-worker@.${kind}`,
      ]),
    ),
  );
});

test('another port replaces all three listeners, in the same order; another drain gives the time it needs', async () => {
  const files = unitFiles(await configOf('workers = 1\ndrain = "4s"', 'port = 2626'));
  const texts = new Map(files.map((file) => [file.path, 'text' in file ? file.text : '']));
  const own =
    systemdFile('postern-worker@.socket')
      .match(/^ListenStream=.*$/gm)
      ?.join('\n') ?? '';
  assert.equal(
    texts.get('postern-worker@.socket.d/50-port.conf'),
    `[Socket]\nListenStream=\n${own.replaceAll('2525', '2626')}\n`,
  );
  assert.equal(texts.get('postern-worker@.service.d/50-drain.conf'), '[Service]\nTimeoutStopSec=9000ms\n');
});

test('the keeper may write to the Maildir of complaints, whatever it is called', async () => {
  const files = unitFiles(await configOf('workers = 1', '[complaints]\nmaildir = "/var/mail/100 %u"'));
  assert.deepEqual(
    files.filter((file) => 'text' in file),
    [
      {
        path: 'postern-keeper.service.d/50-maildir.conf',
        text: '[Service]\nReadWritePaths="-/var/mail/100 %%u"\n',
      },
    ],
  );
});

test("the units have the schema's defaults, so that a default configuration needs no file but the workers", async () => {
  const { gateway, intercept } = await configOf('');
  const worker = systemdFile('postern-worker@.service');
  assert.equal(/^TimeoutStopSec=(\d+)s$/m.exec(worker)?.[1], String(gateway.drain / 1000 + 5));
  assert.match(
    systemdFile('postern-worker@.socket'),
    new RegExp(`^ListenStream=0\\.0\\.0\\.0:${intercept.port}$`, 'm'),
  );
  assert.deepEqual(unitErrors(await configOf('')), []);
});

test('directories that the units do not have are refused, each by name', async () => {
  const errors = unitErrors(await configOf('run_dir = "/run/other"\nstate_dir = "/srv/postern"'));
  assert.equal(errors.length, 2);
  assert.match(errors[0] ?? '', /^gateway.run_dir = "\/run\/other": expected "\/run\/postern"/);
  assert.match(errors[1] ?? '', /^gateway.state_dir = "\/srv\/postern": expected "\/var\/lib\/postern"/);
});

test('the command writes them where systemd wants them, and nothing when the configuration is wrong', async () => {
  const said: string[] = [];
  const io = {
    out: (line: string) => void said.push(line),
    err: (line: string) => void said.push(line),
    isTerminal: false,
  };
  const config = join(directory, 'postern.toml');
  const into = join(directory, 'generated');
  writeFileSync(config, text('workers = 1\nrun_dir = "/run/other"'));
  assert.equal(await command.run(['--config', config, '--into', into], io), 1);
  assert.match(said.join('\n'), /gateway.run_dir/);
  assert.deepEqual(readdirSync(directory), ['postern.toml']);

  writeFileSync(config, text('workers = 1', 'port = 2626'));
  assert.equal(await command.run(['--config', config, '--into', into], io), 0);
  assert.deepEqual(readdirSync(into, { recursive: true }).map(String).sort(), [
    'postern-worker@.socket.d',
    'postern-worker@.socket.d/50-port.conf',
    'postern.target.wants',
    'postern.target.wants/postern-worker@1.service',
    'postern.target.wants/postern-worker@1.socket',
  ]);
  const link = readlinkSync(join(into, 'postern.target.wants/postern-worker@1.socket'));
  assert.equal(link, '/usr/lib/systemd/system/postern-worker@.socket');
});
