/** Where a worker's time goes: CPU profiles of a run, summed up by room, by what Node does for it, and by function. */
import { chmodSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pidsIn } from '../src/lab/namespace.ts';
import { startGateway } from '../src/lab/gateway.ts';
import { temporaryDirectory } from './leftovers.ts';
import { startPostern } from './peers/postern.ts';
import { table } from './report.ts';
import { measure, type SampleOptions, setUp } from './sample.ts';
import { KEPT, type Scenario } from './scenarios.ts';

type ProfileNode = {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
};
type Profile = {
  /** µs of the monotonic clock */
  readonly startTime: number;
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
};

/** µs by name */
type Times = Map<string, number>;
type Sums = { busyUs: number; readonly self: Times; readonly behalf: Times; readonly functions: Times };

const FUNCTIONS_SHOWN = 15;
const ROWS_SHOWN = 15;
const SHARE_SHOWN = 0.005;

/** One scenario with the profiler on; the text is a section of the report. */
export async function profile(scenario: Scenario, options: SampleOptions): Promise<string> {
  const { path: directory, remove } = temporaryDirectory('/dev/shm/postern-profile-');
  chmodSync(directory, 0o777);
  process.env['POSTERN_PROFILE_DIR'] = directory;
  const main = join(import.meta.dirname, 'profiled-main.ts');
  const standing = await setUp({
    name: 'postern',
    about: '',
    start: (stage) =>
      startPostern(stage, {
        start: (where, path, config) => startGateway(where, path, config, main),
        ...(scenario === KEPT && { tables: { network: 'egress = "preserve"' } }),
      }),
  });
  let closed = false;
  try {
    // What is compiled at first use is not what a running worker does.
    await measure(standing, scenario, options);
    const from = nowUs();
    const before = usedByTitle(standing.stage.network.gateway.name);
    const sample = await measure(standing, scenario, options);
    const after = usedByTitle(standing.stage.network.gateway.name);
    const to = nowUs();
    await standing.close();
    closed = true;
    const { messages } = sample.load;
    const of = (pattern: string): Sums => sumUp(globSync(join(directory, '*.cpuprofile')), pattern, from, to);
    return [
      `### ${scenario.name}: ${scenario.about}`,
      `${sample.rate.toFixed(0)} ${scenario.unit} with the profiler on; ${sample.cpuMsPerMessage.toFixed(3)} ms of CPU per message.`,
      processTable(before, after, messages),
      ...described('Workers', of('worker'), messages),
      ...described('Keeper', of('keeper'), messages),
    ].join('\n\n');
  } finally {
    delete process.env['POSTERN_PROFILE_DIR'];
    if (!closed) await standing.close();
    remove();
  }
}

type Used = { readonly userMs: number; readonly systemMs: number; readonly reads: number; readonly writes: number };

/** What each process in a namespace has used so far, by its title; reads and writes are system calls. */
function usedByTitle(namespace: string): Map<string, Used> {
  const found = new Map<string, Used>();
  for (const pid of pidsIn(namespace)) {
    const file = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'latin1');
    const title = (file('cmdline').split('\0')[0] ?? '').trim();
    const fields = file('stat').split(') ')[1]?.split(' ') ?? [];
    const io = file('io');
    const calls = (name: string): number => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(io)?.[1]);
    found.set(title, {
      // Clock ticks are 10 ms.
      userMs: Number(fields[11]) * 10,
      systemMs: Number(fields[12]) * 10,
      reads: calls('syscr'),
      writes: calls('syscw'),
    });
  }
  return found;
}

function processTable(before: ReadonlyMap<string, Used>, after: ReadonlyMap<string, Used>, messages: number): string {
  const rows = [...after].map(([title, used]) => {
    const each = (of: keyof Used): string => ((used[of] - (before.get(title)?.[of] ?? 0)) / messages).toFixed(3);
    return [title, each('userMs'), each('systemMs'), each('reads'), each('writes')];
  });
  return table(['process, for each message', 'user ms', 'system ms', 'reads', 'writes'], rows);
}

function described(who: string, sums: Sums, messages: number): string[] {
  if (sums.busyUs === 0) return [];
  const share = (us: number): string => `${((us / sums.busyUs) * 100).toFixed(1)} %`;
  const names = [...new Set([...sums.self.keys(), ...sums.behalf.keys()])];
  const rows = names
    .map((name) => ({ name, self: sums.self.get(name) ?? 0, behalf: sums.behalf.get(name) ?? 0 }))
    .filter(({ self, behalf }) => Math.max(self, behalf) > sums.busyUs * SHARE_SHOWN)
    .sort((a, b) => Math.max(b.behalf, b.self) - Math.max(a.behalf, a.self))
    .slice(0, ROWS_SHOWN);
  const functions = [...sums.functions].sort(([, a], [, b]) => b - a).slice(0, FUNCTIONS_SHOWN);
  return [
    `${who}, share of ${(sums.busyUs / 1000 / messages).toFixed(3)} ms per message:`,
    table(
      ['', 'itself', 'with what Node does for it'],
      rows.map(({ name, self, behalf }) => [name, share(self), behalf > 0 ? share(behalf) : '']),
    ),
    table(
      ['function', 'itself'],
      functions.map(([name, us]) => [name, share(us)]),
    ),
  ];
}

function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** The profiles of one role, of the time between these two. */
function sumUp(paths: readonly string[], role: string, fromUs: number, toUs: number): Sums {
  const sums: Sums = { busyUs: 0, self: new Map(), behalf: new Map(), functions: new Map() };
  for (const path of paths) {
    const { nodes, samples, timeDeltas, startTime } = JSON.parse(readFileSync(path, 'utf8')) as Profile;
    if (!nodes.some(({ callFrame }) => callFrame.url.endsWith(`/src/roles/${role}.ts`))) continue;
    const byId = new Map(nodes.map((node) => [node.id, node]));
    const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
    const us = new Map<number, number>();
    let at = startTime;
    samples.forEach((id, i) => {
      const delta = timeDeltas[i] ?? 0;
      at += delta;
      if (at >= fromUs && at <= toUs) us.set(id, (us.get(id) ?? 0) + delta);
    });
    for (const [id, time] of us) {
      const node = byId.get(id);
      if (!node || node.callFrame.functionName === '(idle)') continue;
      sums.busyUs += time;
      add(sums.self, placeOf(node), time);
      add(sums.functions, nameOf(node), time);
      // The nearest of our own functions on the stack is whom it was done for.
      for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
        const room = roomOf(byId.get(at)?.callFrame.url ?? '');
        if (room === undefined) continue;
        add(sums.behalf, room, time);
        break;
      }
    }
  }
  return sums;
}

function placeOf({ callFrame: { url, functionName } }: ProfileNode): string {
  const room = roomOf(url);
  if (room !== undefined) return room;
  if (url.startsWith('node:')) return url.replace(/^(node:internal\/[^/]+|node:[^/]+).*/, '$1');
  if (url.includes('/node_modules/')) return /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? url;
  return functionName.startsWith('(') ? functionName : `native ${functionName}`;
}

function roomOf(url: string): string | undefined {
  return /\/src\/([a-z]+)(?:\/|\.ts)/.exec(url)?.[1];
}

function nameOf(node: ProfileNode): string {
  const { functionName, url, lineNumber } = node.callFrame;
  const where = url.replace(/^.*\/(src|node_modules)\//, '$1/');
  return url ? `\`${functionName || '(anonymous)'}\` ${where}:${lineNumber + 1}` : placeOf(node);
}

function add(times: Times, name: string, us: number): void {
  times.set(name, (times.get(name) ?? 0) + us);
}
