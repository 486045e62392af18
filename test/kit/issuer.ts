/** An authority as the keeper makes it, and what it hands to workers. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../src/kit/clock.ts';
import { silentLog } from '../../src/kit/log.ts';
import { Authority } from '../../src/tls/authority.ts';
import { HostTls } from '../../src/tls/host-tls.ts';

/** The issuer stands at `issuerPath` afterwards; the authority's file stands in `directory`. */
export function makeIssuer(directory: string, issuerPath: string, clock: Clock = systemClock): Authority {
  const path = join(directory, 'ca.pem');
  return new Authority({ path, issuerPath, gatewayName: 'gw1.example.net', clock, log: silentLog });
}

/** What hosts of two gateways in this process are shown, and the authority's certificate to verify it with. */
export function testTls(): { readonly tls: HostTls; readonly other: HostTls; readonly ca: string } {
  const directory = mkdtempSync(join(tmpdir(), 'postern-tls-'));
  try {
    const issuerPath = join(directory, 'issuer.pem');
    const ca = makeIssuer(directory, issuerPath).certificatePem as string;
    const one = (): HostTls => new HostTls({ issuerPath, clock: systemClock, log: silentLog });
    return { ca, tls: one(), other: one() };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
