/** A name server in a process of its own, for filters that ask one: `node bench/name-server.ts ZONE.json` says where it listens. */
import { readFileSync } from 'node:fs';
import { FakeDns, type Records } from '../test/fake/dns.ts';

const zone = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as Record<string, Records>;
const server = await new FakeDns(zone).start();
process.stdout.write(`${server.address}\n`);
