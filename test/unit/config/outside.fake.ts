/** A system for configurations in tests: a few names, files and addresses; no name server and no disk is asked. */
import type { FileState, Outside } from '../../../src/config/outside.ts';

const zone: Readonly<Record<string, readonly string[]>> = {
  'smtp.example.net': ['192.0.2.25', '2001:db8::25'],
  'gw1.example.net': ['198.51.100.1'],
  localhost: ['127.0.0.1'],
};

const files: Readonly<Record<string, FileState>> = {
  '/etc/ssl/x.pem': { readable: true, mode: 0o644, sizeBytes: 1200, hasMark: true },
  '/etc/ssl/der.crt': { readable: true, mode: 0o644, sizeBytes: 900, hasMark: false },
  '/etc/postern/smarthost.password': { readable: true, mode: 0o640, sizeBytes: 14, hasMark: false },
  '/etc/postern/open.password': { readable: true, mode: 0o644, sizeBytes: 14, hasMark: false },
  '/etc/postern/empty.password': { readable: true, mode: 0o600, sizeBytes: 0, hasMark: false },
};

export const fakeOutside: Required<Outside> = {
  async resolve(name) {
    if (name === 'slow.example.net') throw new Error('no answer within 3 s');
    const addresses = zone[name];
    if (!addresses) throw new Error('there is no such name');
    return addresses;
  },
  file: async (path) => files[path] ?? { readable: false, reason: 'there is no such file' },
  localAddresses: () => ['127.0.0.1', '::1', '198.51.100.1'],
};

/** The least that is a good configuration. Line numbers in tests count on it: 13 lines. */
export const goodToml = `[gateway]
name = "gw1.example.net"

[intercept]
inside = ["lan0"]

[smarthost]
servers = ["smtp.example.net:587"]

[[network]]
name = "customers"
prefixes = ["198.51.100.0/24", "2001:db8:1::/48"]

`;
