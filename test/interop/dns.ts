/**
 * A name server for the hosts inside, so that a mail server finds its way as it would anywhere: MX, then an address.
 *
 * `v4.example.org` has one MX with an IPv4 address alone, `v6.example.org` one with an IPv6 address alone, and each name
 * right below has the same MX; nothing else exists but `spf.example.org`, whose SPF record names the first host alone. Run
 * as a process in a namespace: `node dns.ts`; it listens at 127.0.0.1:53 and prints `ready`.
 */
import { fileURLToPath } from 'node:url';
import { PLACES } from '../../src/lab/network.ts';
import { FakeDns } from '../fake/dns.ts';

const [host] = PLACES.hosts;
const v4 = { MX: ['mx.v4.example.org'] };
const v6 = { MX: ['mx.v6.example.org'] };

export const names = new FakeDns({
  'v4.example.org': v4,
  '*.v4.example.org': v4,
  'mx.v4.example.org': { A: [PLACES.direct.v4] },
  'v6.example.org': v6,
  '*.v6.example.org': v6,
  'mx.v6.example.org': { AAAA: [PLACES.direct.v6] },
  'spf.example.org': { TXT: [`v=spf1 ip4:${host.v4} ip6:${host.v6} -all`] },
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await names.start(53);
  process.stdout.write('ready\n');
  // Whoever started this holds its input: when that one is gone, so are we.
  process.stdin.on('end', () => process.exit(0)).resume();
}
