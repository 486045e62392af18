/** Sees to it that what somebody asks for in the panel is carried out: by the command, as systemd's postern-apply.service does. */
import { spawn } from 'node:child_process';
import type { Config } from '../config/schema.ts';
import type { Fields, Level } from '../kit/log.ts';
import { dropWish, hasWish } from '../kit/wish.ts';

const LOOK_MS = 500;

export type WishesOptions = {
  readonly configPath: string;
  readonly config: () => Config;
  readonly say: (level: Level, event: string, fields?: Fields) => void;
  readonly signal: AbortSignal;
};

export function watchWishes({ configPath, config, say, signal }: WishesOptions): void {
  let isBusy = false;
  const look = (): void => {
    const { panel, gateway } = config();
    if (isBusy || !panel.apply || !hasWish(gateway.stateDir)) return;
    isBusy = true;
    const reload = `kill -HUP ${process.pid}`;
    const args = [...process.execArgv, process.argv[1] ?? '', 'apply', '--wish', '--config', configPath];
    const child = spawn(process.execPath, [...args, '--reload', reload], { stdio: 'ignore', cwd: '/' });
    const ended = (code: number | string): void => {
      isBusy = false;
      if (code !== 0) dropWish(gateway.stateDir);
      say(code === 0 ? 'info' : 'warn', 'config.wish', { code });
    };
    child.once('error', (error) => ended(error.message));
    child.once('exit', (code, killed) => ended(code ?? String(killed)));
  };
  const timer = setInterval(look, LOOK_MS);
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
}
