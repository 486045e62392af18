/** A system for configurations in tests: a few names, files and addresses; no name server and no disk is asked. */
import type { FileState, KeyPairFault, Outside } from '../../../src/config/outside.ts';

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

/** Parts of certificates, and what is wrong with each. */
const pairs: Readonly<Record<string, string>> = {
  '/etc/postern/host.pem': '',
  '/etc/postern/host.key': '',
  '/etc/postern/ended.pem': 'a certificate that is valid now; it ended on 2025-11-25T00:00:00.000Z',
  '/etc/postern/other.key': 'the key of tls.certificate; it belongs to another',
};

export const fakeOutside: Required<Outside> = {
  async resolve(name) {
    if (name === 'slow.example.net') throw new Error('no answer within 3 s');
    const addresses = zone[name];
    if (!addresses) throw new Error('there is no such name');
    return addresses;
  },
  async keyPair(certificate, key) {
    const part = (name: string, of: 'certificate' | 'key'): KeyPairFault | undefined => {
      const expected = pairs[name];
      return expected === ''
        ? undefined
        : { key: of, expected: expected ?? 'a file that can be read: there is no such file' };
    };
    return part(certificate, 'certificate') ?? part(key, 'key');
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
