/** A supervisor of stand-ins in a namespace, and a client beside it; what they print can be waited for. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, constants, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { Namespace } from '../../../src/lab/network.ts';

export type Line = Readonly<Record<string, unknown>>;

const here = import.meta.dirname;

/** Lines of JSON as they come; `find` waits for the first that fits, also among those already there. */
export class Lines {
  readonly all: Line[] = [];
  #waiting: { fits: (line: Line) => boolean; resolve: (line: Line) => void }[] = [];

  constructor(stream: Readable) {
    createInterface(stream).on('line', (text) => {
      const line = (text.startsWith('{') ? JSON.parse(text) : { text }) as Line;
      this.all.push(line);
      const fitting = this.#waiting.filter(({ fits }) => fits(line));
      this.#waiting = this.#waiting.filter((one) => !fitting.includes(one));
      for (const { resolve } of fitting) resolve(line);
    });
  }

  find(what: Line, from = 0): Promise<Line> {
    const fits = (line: Line): boolean => Object.entries(what).every(([key, value]) => line[key] === value);
    const there = this.all.slice(from).find(fits);
    if (there) return Promise.resolve(there);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new Error(
            `waited 15 s for ${JSON.stringify(what)}; last seen: ${JSON.stringify(this.all.slice(-5), shorten)}`,
          ),
        );
      }, 15_000);
      this.#waiting.push({
        fits,
        resolve: (line) => {
          clearTimeout(timer);
          resolve(line);
        },
      });
    });
  }
}

const shorten = (_key: string, value: unknown): unknown =>
  typeof value === 'string' && value.length > 200 ? `${value.slice(0, 200)}…` : value;

export type Places = {
  readonly runDir: string;
  readonly stateDir: string;
  readonly config: string;
  readonly codeDir: string;
  readonly node: string;
};

/**
 * Directories of a test. The code lies below one that only root may enter, with a Node of its own in it, as in a checkout
 * under `mktemp -d`; run_dir and state_dir can be reached. `remove` at the end.
 */
export function makePlaces(): Places & { readonly remove: () => void } {
  const shut = mkdtempSync(join(tmpdir(), 'postern-code-'));
  const open = mkdtempSync(join(tmpdir(), 'postern-run-'));
  chmodSync(open, 0o755);
  const codeDir = join(shut, 'checkout');
  const node = join(codeDir, 'node_modules/node');
  mkdirSync(join(codeDir, 'src'), { recursive: true });
  mkdirSync(join(codeDir, 'node_modules'));
  copyFileSync(process.execPath, node, constants.COPYFILE_FICLONE);
  chmodSync(node, 0o755);
  copyFileSync(join(here, 'stand-in.ts'), join(codeDir, 'src/main.ts'));
  writeFileSync(join(codeDir, 'package.json'), '{"type":"module"}');
  const places = {
    runDir: join(open, 'run'),
    stateDir: join(open, 'state'),
    config: join(shut, 'postern.toml'),
    codeDir,
    node,
  };
  writeFileSync(places.config, configText(places));
  return {
    ...places,
    remove: () => {
      for (const directory of [shut, open]) rmSync(directory, { recursive: true, force: true });
    },
  };
}

export function configText(
  { runDir, stateDir }: { runDir: string; stateDir: string },
  change: (text: string) => string = (text) => text,
): string {
  return change(`[gateway]
name = "gw1.example.net"
state_dir = "${stateDir}"
run_dir = "${runDir}"
workers = 2
drain = "1s"
[intercept]
inside = ["lan0"]
[smarthost]
servers = ["203.0.113.87:587"]
[[network]]
name = "customers"
prefixes = ["198.51.100.0/24"]
`);
}

export class Running {
  readonly child: ChildProcess;
  readonly out: Lines;
  readonly err: Lines;
  readonly ended: Promise<number | string>;

  constructor(namespace: Namespace, { codeDir, node, config }: Places, standIn = '', more: readonly string[] = []) {
    this.child = namespace.spawn(process.execPath, [join(here, 'supervise.ts'), codeDir, node, config, ...more], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, POSTERN_STAND_IN: standIn },
    });
    this.out = new Lines(this.child.stdout as Readable);
    this.err = new Lines(this.child.stderr as Readable);
    this.ended = once(this.child, 'close').then(([code, signal]) => (signal ?? code) as number | string);
  }

  /** Resolves when everything is up: the stand-ins' own first lines, by name. */
  async up(): Promise<ReadonlyMap<string, Line>> {
    const names = ['guard', 'keeper', 'worker 1', 'worker 2'];
    const starts = await this.out
      .find({ event: 'run.started' })
      .then(() => Promise.all(names.map((stand) => this.out.find({ stand, what: 'start' }, this.#afterRules()))));
    return new Map(starts.map((line) => [line['stand'] as string, line]));
  }

  /** The run that only puts the rules in is a guard too. */
  #afterRules(): number {
    return this.out.all.findIndex(({ event }) => event === 'role.started');
  }
}

export class Client {
  readonly #child: ChildProcess;
  readonly #lines: Lines;
  #id = 0;

  constructor(namespace: Namespace) {
    this.#child = namespace.spawn(process.execPath, [join(here, 'dial.ts')], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = new Lines(this.#child.stdout as Readable);
  }

  /** Connects to `HOST PORT` or a path. */
  open(where: string): { id: string; outcome: Promise<Line>; closed: Promise<Line> } {
    const id = String(++this.#id);
    const first = this.#lines.all.length;
    this.#child.stdin?.write(`open ${id} ${where}\n`);
    const later = async (key: string): Promise<Line> => {
      for (let from = first; ; ) {
        const line = await this.#lines.find({ id }, from);
        if (key in line || 'error' in line) return line;
        from = this.#lines.all.indexOf(line) + 1;
      }
    };
    return {
      id,
      outcome: later('got'),
      // Waited for by whoever asks: a connection that stays open is no fault of anybody who did not.
      get closed() {
        return later('closed');
      },
    };
  }

  say(id: string, word: string): void {
    this.#child.stdin?.write(`send ${id} ${word}\n`);
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}
