import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pidsIn } from '../../src/lab/namespace.ts';
import { PLACED, theScript } from '../../src/lab/script.ts';
import { needsRoot } from '../kit/tier.ts';
import { until } from '../kit/wait.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
/** The lab runs in seconds; this is for a machine that is busy with something else, and below the time of a whole test. */
const LONG_MS = 240_000;

const started: ChildProcess[] = [];
after(() => {
  for (const child of started) child.kill('SIGTERM');
});

type Lab = {
  readonly child: ChildProcess;
  readonly pid: number;
  /** what ran in its namespaces when it was up: by process id, the link in /proc to its network */
  readonly processes: Map<number, string>;
  /** standard output and error together, so far */
  readonly said: () => string;
  /** Resolves when `pattern` was said; rejects with what was said when the lab ends before. */
  readonly until: (pattern: RegExp) => Promise<void>;
  readonly ended: Promise<{ readonly code: number | null; readonly said: string }>;
};

function startLab(...args: string[]): Lab {
  const child = spawn(process.execPath, [MAIN, 'lab', ...args], { stdio: 'pipe' });
  started.push(child);
  const pid = child.pid as number;
  const processes = new Map<number, string>();
  let said = '';
  const watchers = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (text.includes('The configuration')) {
        for (const which of ['in', 'gw', 'net']) {
          for (const each of pidsIn(`pstn${pid}-1-${which}`)) processes.set(each, networkOf(each));
        }
      }
      for (const look of watchers) look();
    });
  }
  const ended = once(child, 'close', { signal: AbortSignal.timeout(LONG_MS) }).then(
    ([code]) => ({ code: code as number | null, said }),
    () => Promise.reject(new Error(`the lab goes on after ${LONG_MS / 1000} s, and has said: ${said}`)),
  );
  const until = (pattern: RegExp): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (pattern.test(said)) resolve();
      };
      watchers.add(look);
      look();
      ended.then(
        () => reject(new Error(`the lab ended before it said ${pattern}: ${said}`)),
        (error: unknown) => reject(error as Error),
      );
    });
  return { child, pid, processes, said: () => said, until, ended };
}

const list = (directory: string): string[] => (existsSync(directory) ? readdirSync(directory) : []);

function networkOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return 'gone';
  }
}

/** Everything that a lab can leave: namespaces, their files, its directory, mounts on it, processes. */
function leftOf({ pid, processes }: Lab): string[] {
  const directory = `postern-lab-${pid}-`;
  const commands = execFileSync('ps', ['-eo', 'pid,args', '--no-headers', '-ww'], { encoding: 'utf8' }).split('\n');
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return [
    ...[...list('/run/netns'), ...list('/etc/netns')].filter((name) => name.startsWith(`pstn${pid}-`)),
    ...list(tmpdir()).filter((name) => name.startsWith(directory)),
    ...[...commands, ...mounts].filter((line) => line.includes(directory)),
    ...[...processes].filter(([each, network]) => networkOf(each) === network).map(([each]) => `process ${each}`),
  ];
}

const namespaceOf = (lab: Lab, which: 'in' | 'gw' | 'net'): string => `pstn${lab.pid}-1-${which}`;

/** The process in a namespace whose command line has this text. */
function processIn(name: string, text: string): number {
  const found = pidsIn(name).find((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').includes(text),
  );
  assert.ok(found !== undefined, `${text} runs in ${name}`);
  return found;
}

test('Shows 1: postern lab --once sends real mail of every kind, shows a table, leaves nothing', {
  skip: needsRoot,
}, async () => {
  const lab = startLab('--once');
  const { code, said } = await lab.ended;
  assert.equal(code, 0, said);
  const trials = theScript('x').flatMap((round) => round.trials);
  for (const { tries, source, network } of trials) {
    const line = said.split('\n').find((each) => each.includes(source) && each.includes(` ${tries} `));
    assert.match(line ?? '', new RegExp(`^ok +${network} `), tries);
  }
  assert.match(said, new RegExp(`${trials.length} trials in [\\d.]+ s: all as expected`));
  // The configuration, what the kernel refused, and where to look next.
  assert.match(said, /\[\[network\]\]\n +name = "customers"/);
  assert.match(said, /Refused by the kernel \(packets\): .*unrouted [1-9]/);
  assert.match(said, / log --config .*postern\.toml/);
  assert.match(said, /curl -s http:\/\/127\.0\.0\.1:9125\/metrics/);
  assert.ok(!said.includes('\x1b'), 'no colours but on a terminal');
  assert.ok(lab.processes.size >= 8, 'supervisor, guard, keeper, two workers, three servers were there');
  assert.deepEqual(leftOf(lab), []);
});

test('Shows 1: a result that is not as expected is named, and the status is 1', { skip: needsRoot }, async () => {
  const lab = startLab('--once');
  await lab.until(/The configuration/);
  process.kill(processIn(namespaceOf(lab, 'net'), 'direct-main.ts'), 'SIGKILL');
  const { code, said } = await lab.ended;
  assert.equal(code, 1, said);
  assert.match(said, /^WRONG +exempted .*\n {4}0 came to the server it called/m);
  assert.match(said, /trials in [\d.]+ s: \d+ NOT AS EXPECTED/);
  assert.deepEqual(leftOf(lab), []);
});

test('Shows 1: a gateway that dies while it starts is said to have, and nothing is left', {
  skip: needsRoot,
}, async () => {
  const lab = startLab('--once');
  const gone = lab.ended.then(() => true);
  let killed = false;
  while (!killed && !(await Promise.race([gone, new Promise((resolve) => setTimeout(resolve, 10, false))]))) {
    const supervisor = pidsIn(namespaceOf(lab, 'gw')).find((pid) => titleOf(pid).startsWith('postern: run'));
    if (supervisor !== undefined) killed = process.kill(supervisor, 'SIGKILL');
  }
  const { code, said } = await lab.ended;
  assert.equal(code, 1, said);
  assert.match(said, /postern lab: the gateway ended \(SIGKILL\)/);
  assert.deepEqual(leftOf(lab), []);
});

function titleOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

for (const [when, pattern] of [
  ['while it starts', /^/],
  ['during the set', /The configuration/],
  ['at the prompt', /lab> /],
] as const) {
  test(`Shows 1: Ctrl-C ${when} leaves nothing`, { skip: needsRoot }, async () => {
    const lab = startLab();
    await lab.until(pattern);
    if (when === 'while it starts') {
      while (!list('/run/netns').includes(namespaceOf(lab, 'gw')))
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
    lab.child.kill('SIGINT');
    const { code, said } = await lab.ended;
    assert.equal(code, 130, said);
    assert.deepEqual(leftOf(lab), []);
  });
}

test('Shows 1: what a killed lab leaves, the next one removes', { skip: needsRoot }, async () => {
  const killed = startLab();
  await killed.until(/The configuration/);
  killed.child.kill('SIGKILL');
  await killed.ended;
  assert.notDeepEqual(leftOf(killed), []);
  const next = startLab();
  await next.until(/The configuration/);
  assert.deepEqual(leftOf(killed), []);
  next.child.kill('SIGTERM');
  assert.equal((await next.ended).code, 130);
  assert.deepEqual(leftOf(next), []);
});

test('Shows 1: without --once it stays up with a prompt that does what it names', { skip: needsRoot }, async () => {
  const keep = mkdtempSync(join(tmpdir(), 'postern-test-'));
  try {
    const lab = startLab('--keep', keep);
    await lab.until(/lab> /);
    const told = async (command: string, pattern: RegExp): Promise<void> => {
      lab.child.stdin?.write(`${command}\n`);
      await lab.until(pattern);
    };
    await told('mail', new RegExp(`${PLACED.customer.v4} saw: 250 [^]*The smarthost has it, under:\n +Received: from`));
    await told('gtube', new RegExp(`${PLACED.customer.v4} saw: 550 .*spam\\.gtube[^]*Nothing arrived`));
    await told('mail blocked', new RegExp(`${PLACED.blocked.v4} saw: Connection refused`));
    await told('mail exempted', /The server it called has it/);
    await told(`lock ${PLACED.observed.v4} --how kernel --reason x`, /198\.51\.100\.40/);
    await told('locks', /198\.51\.100\.40\/32/);
    await told('log', /spam\.gtube/);
    await told('status', /customers/);
    await told('metrics', /^postern_messages_total\{/m);
    await told('rules', /TPROXY/);
    await told('kill worker', /Killed \d+, postern: worker 1/);
    const killed = Number(/Killed (\d+), postern: worker 1/.exec(lab.said())?.[1]);
    await until(() => !pidsIn(namespaceOf(lab, 'gw')).includes(killed), 'the process that was named ends', 60_000);
    await told('mail 198.51.100.11', /198\.51\.100\.11 saw: 250 /);
    await told('nonsense', /There is no "nonsense" here/);
    await told('help', /quit +end the lab/);
    lab.child.stdin?.end('quit\n');
    const { code, said } = await lab.ended;
    assert.equal(code, 0, said);
    assert.deepEqual(leftOf(lab), []);
    for (const name of ['postern.toml', 'gateway.log', 'state']) assert.ok(existsSync(join(keep, name)), name);
  } finally {
    rmSync(keep, { recursive: true, force: true });
  }
});
