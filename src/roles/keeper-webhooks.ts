/** The webhooks of the configuration, and which events each of them wants. */
import type { Config } from '../config/schema.ts';
import { Webhook, type WebhookOptions } from '../record/webhook.ts';

export type HookEvent = Config['webhook'][number]['events'][number];

export type KeeperWebhooks = {
  readonly tell: (kind: HookEvent, data: object) => void;
  readonly wants: (kind: HookEvent) => boolean;
  readonly configure: (config: Config) => void;
  /** events that nobody took since the keeper's start */
  readonly dropped: () => number;
  readonly close: () => void;
};

export function keeperWebhooks(first: Config, options: Omit<WebhookOptions, 'gateway'>): KeeperWebhooks {
  let config: readonly Config['webhook'][number][] = [];
  let hooks: readonly Webhook[] = [];
  let droppedBefore = 0;
  const configure = ({ webhook, gateway }: Config): void => {
    // What waits for a hook that stays as it is waits on.
    const before = new Map(config.map((each, i) => [JSON.stringify(each), hooks[i]] as const));
    hooks = webhook.map((each) => {
      const kept = before.get(JSON.stringify(each));
      before.delete(JSON.stringify(each));
      return kept ?? new Webhook(each, { ...options, gateway: gateway.name });
    });
    config = webhook;
    for (const gone of before.values()) {
      gone?.close();
      droppedBefore += gone?.dropped ?? 0;
    }
  };
  configure(first);
  return {
    configure,
    tell(kind, data) {
      for (const [i, { events }] of config.entries()) if (events.includes(kind)) hooks[i]?.tell(kind, data);
    },
    wants: (kind) => config.some(({ events }) => events.includes(kind)),
    dropped: () => hooks.reduce((sum, { dropped }) => sum + dropped, droppedBefore),
    close() {
      for (const hook of hooks) hook.close();
    },
  };
}
