/**
 * Every command by its name. Only the one that is asked for is loaded, so its summary stands here as well as in its
 * file; a test compares them.
 */
import type { Command } from './command.ts';

export type Entry = { readonly summary: string; readonly load: () => Promise<{ readonly command: Command }> };

export const commands: Readonly<Record<string, Entry>> = {
  run: { summary: 'start the gateway from a checkout: guard, keeper and workers', load: () => import('./run.ts') },
  check: { summary: 'check a configuration and print what is in effect', load: () => import('./check.ts') },
  apply: {
    summary: 'put a configuration into effect that goes back by itself unless it is confirmed',
    load: () => import('./apply.ts'),
  },
  config: { summary: 'print a commented example, or the reference of every key', load: () => import('./config.ts') },
  rules: { summary: 'print the kernel rules that a configuration leads to', load: () => import('./rules.ts') },
  effective: {
    summary: 'print the settings that hold for an address, and where each comes from',
    load: () => import('./effective.ts'),
  },
  subscriber: { summary: 'import a list of subscribers, after a check', load: () => import('./subscriber.ts') },
  limits: { summary: 'show how much of its limits an address has used', load: () => import('./limits.ts') },
  status: { summary: 'show what runs, what is open, and every way round', load: () => import('./status.ts') },
  doctor: { summary: 'find what keeps the gateway from working, and what mends it', load: () => import('./doctor.ts') },
  probe: {
    summary: 'find at which hop somebody answers on port 25, compared with port 587',
    load: () => import('./probe.ts'),
  },
  lock: { summary: 'stop an address or a prefix from sending', load: () => import('./lock.ts') },
  unlock: { summary: 'let it send again', load: () => import('./unlock.ts') },
  locks: { summary: 'list what is locked, by whom and why', load: () => import('./locks.ts') },
  verifying: {
    summary: 'list hosts that did not accept our certificate, and what is carried unread for them',
    load: () => import('./verifying.ts'),
  },
  mode: {
    summary: 'move a subscriber or a network on the ladder of modes, for a while',
    load: () => import('./mode.ts'),
  },
  ca: { summary: "print the certificate of the gateway's authority, or make another", load: () => import('./ca.ts') },
  privacy: {
    summary: 'say what is kept of whom, why and how long, as the configuration stands',
    load: () => import('./privacy.ts'),
  },
  user: { summary: 'say who may use the panel and the API', load: () => import('./user.ts') },
  top: { summary: 'show who sends most, or is refused most', load: () => import('./top.ts') },
  sources: {
    summary: 'list who sends on port 25, since when, how much, to how many domains, with what result',
    load: () => import('./sources.ts'),
  },
  predict: {
    summary: 'say what would have been refused, by mode "observe" or by another configuration',
    load: () => import('./predict.ts'),
  },
  log: { summary: 'search the journal of attempts', load: () => import('./log.ts') },
  who: { summary: 'say whom an address belonged to at a time', load: () => import('./who.ts') },
  complaints: {
    summary: 'list complaints about mail from here, and the message of each',
    load: () => import('./complaints.ts'),
  },
  scan: { summary: 'say what would happen to a message in a file, and why', load: () => import('./scan.ts') },
  explain: {
    summary: 'say what a class, a reply code or an id means, or what holds for an address',
    load: () => import('./explain.ts'),
  },
  router: {
    summary: 'print what a router elsewhere is told, so that it sends port 25 here',
    load: () => import('./router.ts'),
  },
  lab: { summary: 'send real mail through the gateway in a network of namespaces', load: () => import('./lab.ts') },
  units: {
    summary: 'print what the configuration means to systemd: how many workers, on which port',
    load: () => import('./units.ts'),
  },
  guard: { summary: "role: keep the kernel rules, feed the dead-man's switch", load: () => import('./guard.ts') },
  keeper: { summary: 'role: counters, locks, journal, metrics', load: () => import('./keeper.ts') },
  worker: { summary: 'role: take connections and relay mail', load: () => import('./worker.ts') },
  classes: { summary: 'list every class of reply', load: () => import('./classes.ts') },
};
