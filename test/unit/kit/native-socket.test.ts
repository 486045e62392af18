import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openListener, openUnixListener, sendNotify } from '../../../src/kit/native-socket.ts';
import { needsRoot } from '../../kit/tier.ts';

const directory = mkdtempSync(join(tmpdir(), 'postern-native-'));
after(() => rmSync(directory, { recursive: true }));

const PLAIN = { transparent: false, reusePort: false, backlog: 16 } as const;

/** Serves one connection on an inherited descriptor and says of which family it was. */
async function acceptOne(fd: number, dial: (server: Server) => Socket): Promise<string | undefined> {
  const server = createServer().listen({ fd });
  await once(server, 'listening');
  const client = dial(server);
  const [accepted] = (await once(server, 'connection')) as [Socket];
  const family = accepted.localFamily;
  client.destroy();
  accepted.destroy();
  server.close();
  return family;
}

const port = (server: Server): number => (server.address() as { port: number }).port;
const openDescriptors = (): number => readdirSync('/proc/self/fd').length;

test('a listener takes connections, IPv4 and IPv6', async () => {
  for (const [family, address] of [
    [4, '127.0.0.1'],
    [6, '::1'],
  ] as const) {
    const fd = openListener({ family, address, port: 0, ...PLAIN });
    const seen = await acceptOne(fd, (server) => connect(port(server), address));
    assert.equal(seen, `IPv${family}`);
  }
});

test('two listeners share a port only when both say reusePort; IPv6 leaves IPv4 free', () => {
  const first = openListener({ family: 4, address: '127.0.0.1', port: 24525, ...PLAIN, reusePort: true });
  const before = openDescriptors();
  assert.throws(() => openListener({ family: 4, address: '127.0.0.1', port: 24525, ...PLAIN }), {
    code: 'EADDRINUSE',
    syscall: 'bind',
    message: 'bind 127.0.0.1:24525: EADDRINUSE',
  });
  assert.equal(openDescriptors(), before, 'the refused listener was closed');
  const second = openListener({ family: 4, address: '127.0.0.1', port: 24525, ...PLAIN, reusePort: true });
  const v6 = openListener({ family: 6, address: '::', port: 24525, ...PLAIN });
  for (const fd of [first, second, v6]) closeSync(fd);
});

test('transparent listeners, IPv4 and IPv6, take what is sent to addresses that are not ours', {
  skip: needsRoot,
}, async () => {
  for (const [family, address] of [
    [4, '192.0.2.77'],
    [6, '2001:db8::77'],
  ] as const) {
    // Binding to a foreign address is what the option alone allows: without it the kernel says EADDRNOTAVAIL.
    assert.throws(() => openListener({ family, address, port: 0, ...PLAIN }), { code: 'EADDRNOTAVAIL' });
    closeSync(openListener({ family, address, port: 0, ...PLAIN, transparent: true }));
  }
});

test('without privilege a transparent listener is refused, and says so', { skip: needsRoot }, () => {
  const script = join(directory, 'unprivileged.ts');
  writeFileSync(
    script,
    `import { openListener } from ${JSON.stringify(join(import.meta.dirname, '../../../src/kit/native-socket.ts'))};
     try { openListener({ family: 4, address: '0.0.0.0', port: 0, transparent: true, reusePort: false, backlog: 1 }); }
     catch (error) { console.log(error.message); }`,
  );
  // Root without the two capabilities: the checkout may be unreadable for anybody else.
  const run = spawnSync('setpriv', ['--bounding-set', '-net_admin,-net_raw', process.execPath, script], {
    encoding: 'utf8',
    timeout: 120_000,
  });
  assert.equal(run.stdout.trim(), 'setsockopt IP_TRANSPARENT on 0.0.0.0:0: EPERM', run.stderr);
});

test('a unix listener has its mode and replaces what an earlier process left', async () => {
  const path = join(directory, 'probe');
  const gid = process.getgid?.() ?? 0;
  closeSync(openUnixListener({ path, mode: 0o600, gid, backlog: 4 }));
  const fd = openUnixListener({ path, mode: 0o660, gid, backlog: 4 });
  assert.equal(statSync(path).mode & 0o777, 0o660);
  await acceptOne(fd, () => connect(path));
});

test('a path too long for a socket is refused before the kernel sees it', () => {
  const path = join(directory, 'x'.repeat(120));
  assert.throws(
    () => openUnixListener({ path, mode: 0o600, gid: 0, backlog: 1 }),
    /too long for a socket: at most 107 bytes/,
  );
});

test('a notification reaches a datagram socket, by path and in the abstract', () => {
  // Node has no unix datagrams: the receiver is Python's, which prints one datagram and ends.
  const receiver = `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.settimeout(5)
p=sys.argv[1]; s.bind(p.replace("@",chr(0),1)); print("bound",flush=True); print(s.recv(100).decode(),flush=True)`;
  for (const path of [join(directory, 'notify'), `@postern-test-${process.pid}`]) {
    const script = join(directory, 'notify.ts');
    writeFileSync(
      script,
      `import { sendNotify } from ${JSON.stringify(join(import.meta.dirname, '../../../src/kit/native-socket.ts'))};
      process.stdin.once('data', () => { sendNotify(process.argv[2], 'READY=1\\nSTATUS=ü'); process.exit(0); });`,
    );
    const run = spawnSync(
      'sh',
      [
        '-c',
        'python3 -c "$3" "$2" | { read -r line; echo x | "$0" "$1" "$2"; cat; }',
        process.execPath,
        script,
        path,
        receiver,
      ],
      {
        encoding: 'utf8',
        timeout: 120_000,
      },
    );
    assert.equal(run.stdout, 'READY=1\nSTATUS=ü\n', run.stderr);
  }
  assert.throws(() => sendNotify(join(directory, 'nobody'), 'READY=1'), { code: 'ENOENT', syscall: 'sendto' });
});
