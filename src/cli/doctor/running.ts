/** Checks of the gateway itself, as its keeper tells it. */
import type { Config } from '../../config/schema.ts';
import { runPaths } from '../../kit/run-dir.ts';
import { askKeeper, KeeperError } from '../../ledger/ask.ts';
import type { Status } from '../../ledger/language.ts';
import { time } from '../show.ts';
import type { Finding } from './finding.ts';

const ASK_MS = 5000;

/** What the keeper says, or why it says nothing. */
export async function askRunning({ gateway }: Pick<Config, 'gateway'>): Promise<Status | KeeperError> {
  try {
    return (await askKeeper(runPaths(gateway.runDir).keeperSocket, { of: 'status' }, ASK_MS)) as Status;
  } catch (error) {
    if (error instanceof KeeperError) return error;
    throw error;
  }
}

export function checkRunning(status: Status | KeeperError, { filters }: Pick<Config, 'filters'>): Finding[] {
  if (status instanceof KeeperError)
    return [fault('gateway', `it does not run: ${status.message}`, 'systemctl start postern.target')];
  const { intercepting, problem, services } = status;
  const findings: Finding[] = [
    intercepting
      ? { check: 'gateway', state: 'ok', text: 'connections are intercepted' }
      : fault('gateway', `nothing is intercepted: ${problem ?? 'no reason given'}`, "systemctl status 'postern-*'"),
  ];
  for (const { service, up, of, definitionsAt } of services) {
    const found = findings.length;
    if (up < of)
      findings.push(
        fault(
          'services',
          `${service} does not answer ${of - up} of ${of} workers, and its filter's failure counts`,
          `systemctl restart ${UNITS[service] ?? service}`,
        ),
      );
    if (definitionsAt !== undefined && Date.now() - definitionsAt > filters.clamd.stale)
      findings.push(
        fault(
          'definitions',
          `those of ${service} are of ${time(definitionsAt)}: what is newer is not found`,
          'systemctl enable --now clamav-freshclam && freshclam',
        ),
      );
    if (findings.length === found) findings.push({ check: 'services', state: 'ok', text: `${service} is asked` });
  }
  return findings;
}

const UNITS: Readonly<Record<string, string>> = { clamd: 'clamav-daemon', rspamd: 'rspamd' };

function fault(check: string, text: string, mend: string): Finding {
  return { check, state: 'fault', text, mend };
}
