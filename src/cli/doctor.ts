/** `postern doctor`: what on this machine, or around it, keeps the gateway from working, and what mends it. */
import { parseArgs } from 'node:util';
import { keepsSource } from '../config/egress.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { withoutEnded } from '../guard/exempt.ts';
import { withSteps } from '../guard/stepped.ts';
import { canonical } from '../kit/address.ts';
import { safeJson } from '../kit/log.ts';
import { type Command, DEFAULT_CONFIG, UsageError } from './command.ts';
import type { Finding } from './doctor/finding.ts';
import { checkForeignRules } from './doctor/foreign.ts';
import { checkConntrack, checkReversePath, checkRules } from './doctor/kernel.ts';
import {
  checkFamilies,
  checkForwarding,
  checkInterfaces,
  checkMtu,
  mailInterfaces,
  readLinks,
} from './doctor/links.ts';
import { checkClock, checkDescriptors, checkDisk } from './doctor/machine.ts';
import { checkDnssec, checkNames } from './doctor/names.ts';
import { withLoops } from './doctor/loops.ts';
import { checkPaths } from './doctor/path.ts';
import { askRunning, checkRunning } from './doctor/running.ts';
import { checkSmarthost } from './doctor/smarthost.ts';
import { counted, shown } from './show.ts';

export const command: Command = {
  name: 'doctor',
  summary: 'find what keeps the gateway from working, and what mends it',
  help: `Usage: postern doctor [--to ADDRESS]... [--json] [--config FILE]

Looks at what the gateway needs, and says what mends each fault:

  interfaces, their MTU, both families; our rules, routes and settings, and rules of others that are in the way; forwarding,
  rp_filter, tracked connections; the gateway itself, the services that its filters ask and their definitions; descriptors,
  disk, clock; our name in the DNS, and DNSSEC; each smarthost, dialled as a worker dials it.

For networks with egress = "preserve" it also tries the way there and back, as a worker would: a connection from an address
of each of their prefixes to port 25 of a server outside. Needs root. Changes nothing.

  --to ADDRESS    a mail server outside, IPv4 or IPv6; may be given for each family
  --json          the findings for programs
  --config FILE   the configuration (default ${DEFAULT_CONFIG})

Exit status: 0 nothing found; 1 at least one fault, or something that could not be looked at.

Example: postern doctor --to 192.0.2.25 --to 2001:db8::25
`,
  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        to: { type: 'string', multiple: true, default: [] },
        json: { type: 'boolean', default: false },
        config: { type: 'string', default: DEFAULT_CONFIG },
      },
    });
    const servers = values.to.map((text) => {
      const address = canonical(text);
      if (address === undefined) throw new UsageError(`--to ${text}: expected an IPv4 or IPv6 address`);
      return address;
    });
    const loaded = await loadConfig(values.config, {});
    if (!loaded.ok) {
      for (const { message } of loaded.errors) io.err(message);
      return 1;
    }
    if (process.getuid?.() !== 0) {
      io.err('postern doctor: needs root, since only root may read the rules of the kernel');
      return 1;
    }
    const findings = await examine(loaded.config, values.config, servers);
    io.out(values.json ? safeJson(findings) : findingsText(findings, io.isTerminal));
    return findings.every(({ state }) => state === 'ok') ? 0 : 1;
  },
};

/** The causes first: a path that fails may have its reason in the lines above it. */
async function examine(config: Config, configPath: string, servers: readonly string[]): Promise<Finding[]> {
  const names = await mailInterfaces(config);
  const status = await askRunning(config);
  const steps = status instanceof Error ? [] : status.steps;
  const checks: readonly (readonly [check: string, () => Finding[] | Promise<Finding[]>])[] = [
    ['gateway', () => checkRunning(status, config)],
    ['interface', async () => checkInterfaces(names, await readLinks())],
    ['mtu', async () => checkMtu(names, await readLinks())],
    ['families', () => checkFamilies(config)],
    ['rules', () => checkRules(withSteps(withoutEnded(config, Date.now()), steps, Date.now()), configPath)],
    ['foreign', () => checkForeignRules(config, names)],
    ['forwarding', () => checkForwarding(names)],
    ['rp_filter', () => checkReversePath(names)],
    ['conntrack', () => [checkConntrack()]],
    ['descriptors', () => checkDescriptors()],
    ['disk', () => checkDisk(config)],
    ['clock', () => [checkClock()]],
    ['helo', () => checkNames(config)],
    ['dnssec', () => checkDnssec(config)],
    ['smarthost', () => checkSmarthost(config)],
    ['path', () => (keepsSource(config) ? withLoops(() => checkPaths(config, servers)) : [])],
  ];
  const findings: Finding[] = [];
  for (const [check, look] of checks) {
    try {
      findings.push(...(await look()));
    } catch (error) {
      findings.push({ check, state: 'unknown', text: `it could not be looked at: ${(error as Error).message}` });
    }
  }
  return findings;
}

const WORDS = { ok: 'ok', fault: 'FAULT', unknown: 'unknown' } as const;

export function findingsText(findings: readonly Finding[], colours: boolean): string {
  const loud = (text: string): string => (colours ? `\x1b[1;31m${text}\x1b[0m` : text);
  const lines = findings.map(({ check, state, text, mend }) => {
    const word = WORDS[state].padEnd(8);
    const mended = mend === undefined ? '' : `        ${state === 'fault' ? 'mend' : 'do'}: ${shown(mend)}\n`;
    return `${state === 'fault' ? loud(word) : word}${check.padEnd(12)}${shown(text)}\n${mended}`;
  });
  const faults = findings.filter(({ state }) => state === 'fault').length;
  const open = findings.filter(({ state }) => state === 'unknown').length;
  const sum = [
    ...(faults > 0 ? [counted(faults, 'fault', 'faults')] : []),
    ...(open > 0 ? [`${open} not looked at`] : []),
  ];
  return `${lines.join('')}\n${sum.length === 0 ? 'Nothing found.' : sum.join(', ')}\n`;
}
