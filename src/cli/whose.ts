/** What holds for an address, in words. */
import type { Whose } from '../ledger/language.ts';
import { counted, shown, table, time } from './show.ts';

export function whoseText(address: string, { subject, network, mode, step, lock, quota }: Whose): string {
  const until = (ms: number | undefined): string => (ms === undefined ? 'until it is taken back' : `until ${time(ms)}`);
  const lines = [
    `${address} is counted as ${subject}, in network ${network}.`,
    step
      ? `Mode ${mode} since ${time(step.since)}, ${until(step.until)}, by ${step.who}: ${step.reason}`
      : `Mode ${mode}, as the configuration says.`,
    lock
      ? `Locked (${lock.how}) since ${time(lock.since)}, ${until(lock.until)}, by ${lock.who}: ${lock.reason}`
      : 'Not locked.',
  ];
  if (quota) {
    const { day, most } = quota;
    lines.push(
      `Quota: ${quota.quota} recipients a day${most === undefined ? '' : `, of at most ${most}`}.`,
      `Today: ${counted(day.asked, 'recipient', 'recipients')}, of which the far side refused ${day.refused}, and ${counted(day.bounced, 'message', 'messages')}; ${day.blocked} refused here.`,
    );
  }
  const text = lines.map((line) => `${shown(line)}\n`).join('');
  if (!quota || quota.steps.length === 0) return text;
  const rows = [...quota.steps].reverse().map(({ at, from, to, reason }) => [time(at), `${from} -> ${to}`, reason]);
  return `${text}\n${table(['SETTLED', 'QUOTA', 'BECAUSE OF THE DAY BEFORE'], rows)}`;
}
