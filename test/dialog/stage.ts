/**
 * The gateway that a dialog is played through, as its settings want it:
 *
 *     % limits, filters, smarthost, tls, network   a line for this table of the configuration
 *     % caps LIST            what the server offers                % server down        nobody listens there
 *     % before LIST          what the server was seen to offer before a reload of the configuration, whatever it does
 *     % from ADDRESS         the host's address                    % lock SUBJECT HOW [IDENTITY]   somebody has locked it
 *     % admission over       the keeper's answer to one more connection: over, or away
 *     % over UNIT            a limit of the network that is reached: messages, recipients, ...
 *     % behaviour NAME N     what the keeper has seen of the subscriber: helos 20, unknown 30, ...
 *     % descriptors N        the worker's limit of open files      % room N            octets that bodies may take
 *     % certificate none     there is nothing to show after STARTTLS
 *     % broken lock, filter  a part of ours that throws whenever it is asked
 *     % clamd TEXT           a ClamAV that answers so               % rspamd ACTION      a Rspamd that says so
 */
import type { Filter } from '../../src/filter/filter.ts';
import { systemClock } from '../../src/kit/clock.ts';
import { silentLog } from '../../src/kit/log.ts';
import type { Admission } from '../../src/ledger/client.ts';
import { parseCapabilities } from '../../src/smtp/capabilities.ts';
import { createSmarthost } from '../../src/relay/smarthost.ts';
import { FakeRelay } from '../fake/relay.ts';
import { FakeService, rspamdSays } from '../fake/service.ts';
import { startGateway, type TestGateway, testConfig } from '../kit/gateway.ts';
import { testTls } from '../kit/issuer.ts';

const TABLES = ['limits', 'filters', 'smarthost', 'tls', 'network'];

const { tls } = testTls();

const brokenFilter: Filter<'body'> = {
  name: 'broken',
  stage: 'body',
  look: () => Promise.reject(new Error('planted')),
  actionOf: () => 'ignore',
  failure: 'defer',
};

export async function stage(settings: ReadonlyMap<string, string>, address: string): Promise<TestGateway> {
  const tables = Object.fromEntries(TABLES.map((table) => [table, settings.get(table) ?? '']));
  const services = await servicesFor(settings);
  tables['filters'] += services.map(({ kind, address: at }) => `\n${kind}.server = "${at}"`).join('');
  const config = await testConfig([address], tables);
  const before = settings.get('before');
  const descriptors = settings.get('descriptors');
  const broken = settings.get('broken');
  const gateway = await startGateway({
    config,
    ...(settings.get('certificate') !== 'none' && { tls }),
    ...(before !== undefined && { relay: afterReload(config, before) }),
    ...(descriptors !== undefined && { descriptorLimit: Number(descriptors) }),
    ...(broken === 'filter' && { filters: [brokenFilter] }),
  });
  const { ledger, rooms } = gateway;
  const room = settings.get('room');
  if (room !== undefined) rooms.budget.totalBytes = Number(room);
  if (broken === 'lock')
    ledger.lockOf = () => {
      throw new Error('planted');
    };
  for (const unit of settings.get('over')?.split(' ') ?? []) ledger.over.add(unit);
  for (const line of settings.get('behaviour')?.split('\n') ?? []) {
    const [name = '', number] = line.split(' ');
    ledger.behaviour = { ...ledger.behaviour, [name]: name === 'isFirst' ? true : Number(number) };
  }
  ledger.admission = (settings.get('admission') as Admission | undefined) ?? 'ok';
  const [subject, how = 'reject', identity] = settings.get('lock')?.split(' ') ?? [];
  if (subject !== undefined)
    ledger.locks = [
      { subject, identity, how: how as 'reject', reason: 'test', who: 'test', since: 0, until: undefined },
    ];
  const close = async (): Promise<void> => {
    await gateway.close();
    for (const service of services) await service.close();
  };
  return { ...gateway, close };
}

async function servicesFor(settings: ReadonlyMap<string, string>): Promise<FakeService[]> {
  const [clamd, rspamd] = [settings.get('clamd'), settings.get('rspamd')];
  const services: FakeService[] = [];
  if (clamd !== undefined) services.push(await new FakeService('clamd', { says: clamd }, 'tcp').start());
  if (rspamd !== undefined) services.push(await new FakeService('rspamd', rspamdSays(rspamd), 'tcp').start());
  return services;
}

/** A relay whose predecessor has seen a server that offers this, and more in earlier days. */
function afterReload(config: Parameters<typeof createSmarthost>[0], caps: string): ReturnType<typeof createSmarthost> {
  const before = new FakeRelay();
  before.capabilities = parseCapabilities(caps.split(','));
  return createSmarthost(config, { log: silentLog, clock: systemClock, workerCount: 1 }, before);
}
