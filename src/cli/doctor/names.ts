/** Checks of the DNS: our own name and its way back, and whether the resolver can be trusted with DANE. */
import { Resolver } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';
import type { Config } from '../../config/schema.ts';
import { canonical, isPrivate } from '../../kit/address.ts';
import { SecureDns } from '../../kit/secure-dns.ts';
import type { Finding } from './finding.ts';

const ASK_MS = 3000;
/** signed for as long as DNSSEC is there */
const SIGNED = 'iana.org';

export async function checkNames({ gateway: { name }, intercept, filters }: Config): Promise<Finding[]> {
  const own = ownAddresses(intercept.inside);
  if (own.length === 0)
    return [
      {
        check: 'helo',
        state: 'ok',
        text: 'no address of this machine is public: its name is for whoever translates it',
      },
    ];
  const resolver = new Resolver({ timeout: ASK_MS, tries: 1 });
  if (filters.resolver.length > 0) resolver.setServers(filters.resolver.map(({ text }) => text));
  const names = async (ask: () => Promise<string[]>): Promise<string[]> => {
    try {
      return await ask();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOTFOUND' || code === 'ENODATA') return [];
      throw error;
    }
  };
  let found: readonly string[];
  try {
    found = [...(await names(() => resolver.resolve4(name))), ...(await names(() => resolver.resolve6(name)))].map(
      (address) => canonical(address) ?? address,
    );
  } catch (error) {
    return [
      {
        check: 'resolver',
        state: 'fault',
        text: `${resolver.getServers().join(' ')} does not answer: ${(error as Error).message}`,
        mend: 'systemctl restart unbound, or name another in filters.resolver or /etc/resolv.conf',
      },
    ];
  }
  const ours = own.filter((address) => found.includes(address));
  if (ours.length === 0) {
    const is = found.length === 0 ? 'is not in the DNS' : `is ${found.join(' ')}`;
    const [first = ''] = own;
    return [
      {
        check: 'helo',
        state: 'fault',
        text: `${name}, our name in EHLO, ${is}; this machine is ${own.join(' ')}`,
        mend: `in the DNS: ${name}. ${first.includes(':') ? 'AAAA' : 'A'} ${first}`,
      },
    ];
  }
  const findings: Finding[] = [{ check: 'helo', state: 'ok', text: `${name} is ${ours.join(' ')}` }];
  for (const address of ours) {
    const back = await names(() => resolver.reverse(address));
    if (back.some((one) => one.toLowerCase() === name.toLowerCase())) continue;
    findings.push({
      check: 'ptr',
      state: 'fault',
      text: `${address} is ${back.length === 0 ? 'nobody' : back.join(' ')} by its PTR, and says that it is ${name}`,
      mend: `have whoever gave you ${address} set its PTR to ${name}`,
    });
  }
  return findings;
}

/** Those by which others know this machine. */
function ownAddresses(inside: readonly string[]): string[] {
  return Object.entries(networkInterfaces())
    .filter(([name]) => !inside.includes(name))
    .flatMap(([, addresses]) => addresses ?? [])
    .filter(({ address, internal }) => !internal && !isPrivate(address) && !address.startsWith('fe80:'))
    .map(({ address }) => canonical(address) ?? address);
}

export async function checkDnssec({ preserve: { resolver } }: Pick<Config, 'preserve'>): Promise<Finding[]> {
  if (!resolver) return [{ check: 'dnssec', state: 'ok', text: 'not asked for: preserve.resolver is not set' }];
  const found = await new SecureDns({ address: resolver.host, port: resolver.port }).ask(SIGNED, 'A', ASK_MS);
  if (found.kind !== 'failed' && found.isSecure)
    return [{ check: 'dnssec', state: 'ok', text: `${resolver.text} validates` }];
  return [
    {
      check: 'dnssec',
      state: 'fault',
      text:
        found.kind === 'failed'
          ? `${resolver.text} does not answer: ${found.reason}`
          : `${resolver.text} does not validate: whatever certificate a server shows is taken`,
      mend: 'apt-get install unbound && systemctl restart unbound, then preserve.resolver = "127.0.0.1:53"',
    },
  ];
}
