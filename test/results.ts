/** docs/results.md: what a run with full numbers showed, line by line of "Shows", with the machine it ran on. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

/** What the runner says of one test, as far as it is used here. */
export type TestEvent = {
  readonly name?: string;
  readonly nesting: number;
  readonly file?: string;
  readonly message?: string;
  readonly level?: string;
  readonly skip?: string | boolean;
  readonly todo?: string | boolean;
  readonly details?: { readonly duration_ms: number; readonly type?: string };
};

type Row = { readonly line: number; readonly name: string; readonly result: string; readonly seconds: number };

export class Results {
  readonly #rows: Row[] = [];
  #passed = 0;
  #failed = 0;
  #skipped = 0;

  add(type: string, event: TestEvent): void {
    if ((type !== 'test:pass' && type !== 'test:fail') || event.details?.type === 'suite') return;
    const skipped = event.skip !== undefined && event.skip !== false;
    if (skipped) this.#skipped++;
    else if (type === 'test:pass') this.#passed++;
    else this.#failed++;
    const line = /^Shows (\d+)/.exec(event.name ?? '')?.[1];
    if (line === undefined) return;
    const result = skipped ? `skipped: ${String(event.skip)}` : type === 'test:pass' ? 'passed' : 'FAILED';
    this.#rows.push({
      line: Number(line),
      name: event.name ?? '',
      result,
      seconds: (event.details?.duration_ms ?? 0) / 1000,
    });
  }

  text(seed: string, about: readonly string[]): string {
    const rows = [...this.#rows].sort((a, b) => a.line - b.line || a.name.localeCompare(b.name));
    return `# Results of a run with full numbers

Written by \`npm run test:long\`; the same tests run with reduced counts in \`npm test\`.

${about.map((line) => `- ${line}`).join('\n')}
- Seed ${seed}
- In all: ${this.#passed} passed, ${this.#failed} failed, ${this.#skipped} skipped

| line | test | result | seconds |
|---|---|---|---|
${rows.map((row) => `| ${row.line} | ${row.name.replaceAll('|', '\\|')} | ${row.result} | ${row.seconds.toFixed(1)} |`).join('\n')}
`;
  }

  write(seed: string): void {
    writeFileSync('docs/results.md', this.text(seed, machine()));
  }
}

function machine(): string[] {
  const version = (command: string, ...args: string[]): string => {
    try {
      return execFileSync(command, args, { encoding: 'utf8', timeout: 5000 }).split('\n', 1)[0] as string;
    } catch {
      return `${command}: not here`;
    }
  };
  const system = /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown system';
  return [
    `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC, commit ${version('git', 'rev-parse', '--short', 'HEAD')}`,
    `${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    `${system}, Linux ${release()}, Node ${process.versions.node}, OpenSSL ${process.versions.openssl}, SQLite ${process.versions.sqlite}`,
    `${version('iptables', '--version')}, ${version('ipset', '--version')}, ${version('ip', '-V')}`,
  ];
}
