/** The syslog server of the configuration, if there is one; a reload that names another goes over to it. */
import type { Config } from '../config/schema.ts';
import type { Log } from '../kit/log.ts';
import type { Attempt } from '../record/events.ts';
import { Syslog } from '../record/syslog.ts';
import { syslogLines } from '../record/syslog-line.ts';

export type KeeperSyslog = {
  readonly take: (attempts: readonly Attempt[]) => void;
  readonly configure: (config: Config) => void;
  /** lines that were lost since the keeper's start */
  readonly dropped: () => number;
  readonly close: () => Promise<void>;
};

export function keeperSyslog(first: Config, log: Log): KeeperSyslog {
  let config = first;
  let sender = senderOf(config, log);
  let droppedBefore = 0;
  return {
    take(attempts) {
      if (!sender) return;
      const options = { host: config.gateway.name, ...config.syslog };
      for (const attempt of attempts) for (const line of syslogLines(attempt, options)) sender.send(line);
    },
    configure(next) {
      const isSame = JSON.stringify(targetOf(next)) === JSON.stringify(targetOf(config));
      config = next;
      if (isSame) return;
      const before = sender;
      sender = senderOf(config, log);
      void before?.close().then(() => (droppedBefore += before.dropped));
    },
    dropped: () => droppedBefore + (sender?.dropped ?? 0),
    close: () => sender?.close() ?? Promise.resolve(),
  };
}

function targetOf({
  syslog: { server, transport, caFile },
}: Config): ConstructorParameters<typeof Syslog>[0] | undefined {
  return server && { host: server.host, port: server.port, transport, caFile };
}

function senderOf(config: Config, log: Log): Syslog | undefined {
  const target = targetOf(config);
  return target && new Syslog(target, log);
}
