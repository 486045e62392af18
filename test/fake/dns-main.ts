/**
 * FakeDns as a process of its own, for namespaces: at 127.0.0.1:53, with the zone that each line of standard input says,
 * as JSON. Prints a line when the first one is in force, and for each after it; ends with its input.
 */
import { createInterface } from 'node:readline';
import { FakeDns, type Records } from './dns.ts';

const dns = new FakeDns();
await dns.start(53);
for await (const line of createInterface({ input: process.stdin })) {
  dns.zone.clear();
  for (const [name, records] of Object.entries(JSON.parse(line) as Record<string, Records>))
    dns.zone.set(name, records);
  process.stdout.write('there\n');
}
process.exit(0);
