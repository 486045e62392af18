/** The prompt of a lab that stays up: what one can try, and what comes of it. */
import { readFileSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { randomBytes } from 'node:crypto';
import { canonical } from '../kit/address.ts';
import { metrics } from './checks.ts';
import type { Lab } from './lab.ts';
import { pidsIn } from './namespace.ts';
import { PLACES } from './network.ts';
import { EXTRA_HOSTS, GTUBE, PLACED } from './script.ts';
import { withSwaks } from './send.ts';
import { words } from './words.ts';

export type PromptOptions = {
  readonly out: (text: string) => void;
  /** run the whole script again and print its table */
  readonly again: () => Promise<unknown>;
  /** Ctrl-C, which a terminal gives to the prompt instead of raising a signal: must abort `signal` */
  readonly interrupt: () => void;
  readonly signal: AbortSignal;
};

type Action = {
  readonly usage: string;
  readonly does: string;
  readonly run: (lab: Lab, args: readonly string[], options: PromptOptions, lines: Interface) => Promise<void>;
};

const SPACES = ['inside', 'gateway', 'internet'] as const;
const ROLES = ['worker', 'keeper', 'guard'] as const;
const ARRIVAL_MS = 30_000;
const REASON = "from the lab's prompt";

/** Every address that a host inside can send from. */
const HOSTS: readonly string[] = [
  ...[...PLACES.hosts, PLACES.stranger].flatMap(({ v4, v6 }) => [v4, v6]),
  ...EXTRA_HOSTS,
];

const pass =
  (name: string): Action['run'] =>
  async (lab, args, { out }) => {
    const { stdout, stderr } = await lab.gateway.postern(name, ...args);
    out(stdout + stderr);
  };

const actions: Readonly<Record<string, Action>> = {
  mail: {
    usage: 'mail [HOST]',
    does: `send a mail; HOST is ${Object.keys(PLACED).join(', ')}, stranger, or an address`,
    run: (lab, [host], options) => send(lab, host, 'One line.', options),
  },
  gtube: {
    usage: 'gtube [HOST]',
    does: 'send the test string for spam filters',
    run: (lab, [host], options) => send(lab, host, GTUBE, options),
  },
  lock: {
    usage: 'lock ADDRESS [OPTIONS]',
    does: 'stop it from sending; without --reason a reason is filled in',
    run: (lab, args, options, lines) => {
      const hasReason = args.some((arg) => arg === '--reason' || arg.startsWith('--reason='));
      return pass('lock')(lab, hasReason ? args : [...args, '--reason', REASON], options, lines);
    },
  },
  unlock: { usage: 'unlock ADDRESS', does: 'let it send again', run: pass('unlock') },
  locks: { usage: 'locks', does: 'what is locked', run: pass('locks') },
  log: { usage: 'log [OPTIONS]', does: 'the journal; log --help says by what one can search', run: pass('log') },
  explain: { usage: 'explain ID', does: 'what a class, a code or an id means', run: pass('explain') },
  status: { usage: 'status', does: 'what runs, what is open, every way round', run: pass('status') },
  rules: { usage: 'rules', does: 'the rules in the kernel', run: pass('rules') },
  metrics: {
    usage: 'metrics',
    does: 'what Prometheus would read, without buckets',
    run: async (lab, _args, { out }) => {
      const lines = (await metrics(lab)).split('\n');
      out(`${lines.filter((line) => line.startsWith('postern_') && !line.includes('_bucket{')).join('\n')}\n`);
    },
  },
  kill: {
    usage: 'kill worker|keeper|guard',
    does: 'kill -9 one; see that it comes back and that mail waits meanwhile',
    run: async (lab, [name = 'worker'], { out }) => {
      const role = ROLES.find((each) => each === name);
      if (!role) return out(`There is no role "${name}": ${ROLES.join(', ')}.\n`);
      // The first worker by its title: process ids say nothing, one that was started again has a higher one.
      const [first] = pidsIn(lab.network.gateway.name)
        .map((pid) => ({ pid, title: titleOf(pid) }))
        .filter(({ title }) => title.startsWith(`postern: ${role}`))
        .sort((a, b) => (a.title < b.title ? -1 : 1));
      if (first === undefined) return out(`No process "postern: ${role}" runs.\n`);
      process.kill(first.pid, 'SIGKILL');
      out(`Killed ${first.pid}, ${first.title}. Try: mail\n`);
    },
  },
  shell: {
    usage: 'shell inside|gateway|internet',
    does: 'a shell in that namespace; exit comes back',
    run: async (lab, [where = 'inside'], { out }, lines) => {
      const space = SPACES.find((each) => each === where);
      if (!space) return out(`There is no namespace "${where}": inside, gateway, internet.\n`);
      await shell(lab, space, lines);
    },
  },
  again: {
    usage: 'again',
    does: 'run the whole set again',
    run: async (_lab, _args, { again }) => void (await again()),
  },
  help: {
    usage: 'help',
    does: 'this',
    run: async (_lab, _args, { out }) => out(promptHelp()),
  },
  quit: { usage: 'quit', does: 'end the lab and leave nothing behind', run: async () => {} },
};

export function promptHelp(): string {
  const width = Math.max(...Object.values(actions).map(({ usage }) => usage.length));
  return Object.values(actions)
    .map(({ usage, does }) => `  ${usage.padEnd(width)}  ${does}\n`)
    .join('');
}

/** Reads commands from standard input until quit, its end, or `signal`. A command that fails says so and is over. */
export async function prompt(lab: Lab, options: PromptOptions): Promise<void> {
  const isTerminal = process.stdin.isTTY && process.stdout.isTTY;
  const lines = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal: isTerminal,
    prompt: 'lab> ',
  });
  const stop = (): void => lines.close();
  options.signal.addEventListener('abort', stop, { once: true });
  lines.on('SIGINT', options.interrupt);
  // Commands from a pipe are all there before the first is done: the input has then ended, and there is nobody to ask.
  let isOver = false;
  lines.once('close', () => (isOver = true));
  // A terminal shows what is typed. From anything else each command is written before its answer, so that answers are told apart.
  const isTyped = process.stdin.isTTY;
  const ask = (): boolean => {
    if (!isOver) lines.prompt();
    return !isOver;
  };
  try {
    if (options.signal.aborted) return;
    let isAsked = ask();
    for await (const line of lines) {
      // An empty line from a pipe asks for nothing, and the prompt stands already.
      if (!isTyped && line.trim() === '') continue;
      if (!isTyped) options.out(`${isAsked ? '' : 'lab> '}${line.trim()}\n`);
      if (!(await obey(lab, line, options, lines))) return;
      isAsked = ask();
    }
  } finally {
    options.signal.removeEventListener('abort', stop);
    lines.close();
  }
}

/** False when it was the last command. */
async function obey(lab: Lab, line: string, options: PromptOptions, lines: Interface): Promise<boolean> {
  let split: readonly string[];
  try {
    split = words(line);
  } catch (error) {
    options.out(`${(error as Error).message}\n`);
    return true;
  }
  const [name = '', ...args] = split;
  if (name === '') return true;
  if (name === 'quit' || name === 'exit') return false;
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
  if (!action) {
    options.out(`There is no "${name}" here. What there is:\n${promptHelp()}`);
    return true;
  }
  try {
    await action.run(lab, args, options, lines);
  } catch (error) {
    if (options.signal.aborted) return false;
    options.out(`${(error as Error).message}\n`);
  }
  return true;
}

async function send(lab: Lab, host: string | undefined, body: string, { out }: PromptOptions): Promise<void> {
  const source = sourceOf(host ?? 'customer');
  if (source === undefined) {
    return out(
      `No host inside is "${host}". There are ${Object.keys(PLACED).join(', ')}, stranger, and these addresses:\n` +
        HOSTS.map((address) => `  ${address}\n`).join(''),
    );
  }
  const subject = `lab ${randomBytes(4).toString('hex')}`;
  const date = new Date().toUTCString().replace('GMT', '+0000');
  const header = `From: alice@customer.example\r\nTo: bob@example.org\r\nDate: ${date}\r\nSubject: ${subject}\r\n`;
  const saw = await withSwaks(lab.network.inside, {
    ...{ source, server: source.includes(':') ? PLACES.direct.v6 : PLACES.direct.v4, port: 25 },
    ...{ helo: 'host.customer.example', from: 'alice@customer.example', to: ['bob@example.org'] },
    message: Buffer.from(`${header}\r\n${body}\r\n`),
  });
  const isHere = (line: { subject?: string | undefined }): boolean => line.subject === subject;
  if (saw.reply.startsWith('250 ')) {
    await Promise.race([lab.smarthost.waitFor(isHere, ARRIVAL_MS), lab.direct.waitFor(isHere, ARRIVAL_MS)]);
  }
  const atSmarthost = lab.smarthost.lines.find(isHere);
  const atCalled = lab.direct.lines.find(isHere);
  out(`${source} saw: ${saw.reply || saw.failure}\n`);
  if (atSmarthost) out(`The smarthost has it, under:\n  ${atSmarthost.top.replaceAll('\t', ' ')}\n`);
  if (atCalled) out('The server it called has it: this network is exempt.\n');
  if (!atSmarthost && !atCalled) out('Nothing arrived anywhere.\n');
}

function sourceOf(host: string): string | undefined {
  if (host === 'stranger') return PLACES.stranger.v4;
  if (Object.hasOwn(PLACED, host)) return PLACED[host as keyof typeof PLACED].v4;
  const address = canonical(host);
  return address !== undefined && HOSTS.includes(address) ? address : undefined;
}

/** The terminal is the shell's until it ends. */
async function shell(lab: Lab, space: (typeof SPACES)[number], lines: Interface): Promise<void> {
  lines.pause();
  if (process.stdin.isTTY) process.stdin.setRawMode(false);
  const child = lab.network[space].spawn(process.env['SHELL'] ?? 'sh', [], {
    stdio: 'inherit',
    detached: false,
    env: { ...process.env, PS1: `${space}# ` },
  });
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => resolve());
  });
  if (process.stdin.isTTY) process.stdin.setRawMode(true);
  lines.resume();
}

function titleOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
  } catch {
    return '';
  }
}
