/** What must hold of the whole run, beyond each trial: nobody got past, the kernel counted, journal and metrics know. */
import { setTimeout as sleep } from 'node:timers/promises';
import { METRICS } from './gateway.ts';
import type { Lab } from './lab.ts';
import { leaks, type Outcome } from './perform.ts';

export type Checked = { readonly says: string; readonly wrong: readonly string[] };

/** How long the guard may take to report its counters, and the keeper to write its journal. */
const SOON_MS = 30_000;
/** Each worker looks for a server that is down by itself, after 1, 2, 4 s and so on. */
const BACK_MS = 60_000;
const POLL_MS = 100;

const MUST_BE_REFUSED = ['unrouted', 'block', 'smarthost-only'] as const;
const MUST_BE_MEASURED = [
  /^postern_messages_total\{[^}]*class="spam\.gtube"[^}]*\} [1-9]/m,
  /^postern_refused_connections_total\{[^}]*unrouted[^}]*\} [1-9]/m,
  /^postern_intercept_alive 1$/m,
];

export async function checkAll(lab: Lab, outcomes: readonly Outcome[], signal: AbortSignal): Promise<Checked[]> {
  const refusal = outcomes.find(({ trial }) => trial.id === 'gtube')?.saw.reply ?? '';
  const id = /id=(\w+)/.exec(refusal)?.[1];
  return [
    { says: 'nobody but the exempt reached port 25 of the internet directly', wrong: leaks(lab.direct.lines) },
    {
      says: 'the kernel counted what it refused',
      wrong: await soon(signal, async () => {
        const refused = (await lab.gateway.status())?.kernel?.refused ?? [];
        return MUST_BE_REFUSED.filter(
          (reason) => !refused.some((each) => each.reason === reason && each.packets > 0),
        ).map((reason) => `no refused connection was counted for ${reason}`);
      }),
    },
    {
      says: 'the log knows a refusal by the id in its reply',
      wrong: await soon(signal, async () => {
        if (id === undefined) return ['the reply had no id'];
        const { code, stdout, stderr } = await lab.gateway.postern('log', '--id', id);
        return code === 0 && stdout.includes('spam.gtube') ? [] : [`postern log --id ${id}: ${stdout}${stderr}`];
      }),
    },
    {
      says: `http://${METRICS}/metrics in the gateway's namespace answers`,
      wrong: await soon(signal, async () => {
        const text = await metrics(lab);
        return MUST_BE_MEASURED.filter((pattern) => !pattern.test(text)).map(
          (pattern) => `it has no line like ${pattern}`,
        );
      }),
    },
    {
      says: 'every worker has found the smarthost again',
      wrong: await soon(
        signal,
        async () => {
          const upstream = (await lab.gateway.status())?.upstream ?? [];
          if (upstream.length === 0) return ['the status tells of no server'];
          return upstream
            .filter(({ up, of }) => up < of)
            .map(({ server, up, of }) => `${server} is up for ${up} of ${of} workers`);
        },
        BACK_MS,
      ),
    },
  ];
}

/** The page that Prometheus would read; the error's text when there is none. */
export async function metrics(lab: Lab): Promise<string> {
  const script = 'fetch(process.argv[1]).then((r) => r.text()).then((t) => process.stdout.write(t))';
  const ran = await lab.network.gateway.run(process.execPath, ['-e', script, `http://${METRICS}/metrics`]);
  return ran.stdout || ran.stderr;
}

/** What is wrong in the end: tried again until nothing is, or the time is up. */
async function soon(
  signal: AbortSignal,
  look: () => Promise<string[]>,
  deadlineMs: number = SOON_MS,
): Promise<string[]> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const wrong = await look();
    if (wrong.length === 0 || performance.now() > deadline) return wrong;
    signal.throwIfAborted();
    await sleep(POLL_MS);
  }
}
