/**
 * What `postern router` prints for each platform, of a configuration with several networks and both families, is
 * test/golden/router/PLATFORM.txt to the letter. The one for Linux is applied in test/lab/router.lab.test.ts.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { command, platforms } from '../../src/cli/router.ts';

const CONFIG = join(import.meta.dirname, '../../iptables/golden/every-mode.toml');
const update = process.env['POSTERN_UPDATE_GOLDEN'] === '1';
const directory = mkdtempSync(join(tmpdir(), 'postern-router-'));
after(() => rmSync(directory, { recursive: true }));

async function router(...args: readonly string[]): Promise<{ status: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const io = {
    out: (text: string) => void (out += text),
    err: (text: string) => void (err += text),
    isTerminal: false,
  };
  return { status: await command.run(args, io), out, err };
}

const BOTH = ['--next-hop', '192.0.2.1', '--next-hop', '2001:db8:f::1'] as const;

for (const platform of Object.keys(platforms)) {
  test(`the text for ${platform}, IPv4 and IPv6`, async () => {
    const { status, out } = await router(platform, '--interface', 'eth1', ...BOTH, '--config', CONFIG);
    assert.equal(status, 0);
    const golden = join(import.meta.dirname, 'router', `${platform}.txt`);
    if (update) writeFileSync(golden, `${out}\n`);
    assert.equal(`${out}\n`, readFileSync(golden, 'utf8'));
  });

  test(`${platform}: a family in which no network has a prefix is refused whole, and needs no next hop`, async () => {
    const path = join(directory, 'one-family.toml');
    writeFileSync(path, readFileSync(CONFIG, 'utf8').replaceAll(/, "2001:[^"]+"\]/g, ']'));
    const { status, out } = await router(platform, '--interface', 'eth1', '--next-hop', '192.0.2.1', '--config', path);
    assert.equal(status, 0);
    assert.doesNotMatch(out, /undefined|2001:db8/);
    assert.match(out, /ipv6|inet6|route6|ip -6|::\/0/);
  });
}

test('what is not right is said, with what was expected', async () => {
  for (const [args, said] of [
    [['ios', '--interface', 'eth1', ...BOTH], /name one platform: cisco-ios, junos, mikrotik, vyos, frr, linux/],
    [['toString', '--interface', 'eth1', ...BOTH], /name one platform/],
    [['linux', ...BOTH], /--interface: name the router's interface/],
    [['linux', '--interface', 'eth1; reboot', ...BOTH], /--interface: name/],
    [['linux', '--interface', 'eth1', '--next-hop', 'gw1'], /--next-hop "gw1": expected an address/],
    [['linux', '--interface', 'eth1', ...BOTH, '--next-hop', '192.0.2.3'], /expected one IPv4 address, not 2/],
    [['linux', '--interface', 'eth1', '--next-hop', '192.0.2.1'], /networks have IPv6 prefixes/],
  ] as const)
    await assert.rejects(router(...args, '--config', CONFIG), said);
});
