/** What each filter's findings and failures lead to is what the configuration says, whatever it says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '../../../src/config/schema.ts';
import { ACTIONS } from '../../../src/config/schema/words.ts';
import { closeFilters, makeFilters } from '../../../src/filter/all.ts';
import type { Filter } from '../../../src/filter/filter.ts';
import type { Action } from '../../../src/policy/decide.ts';
import { type Class, classes } from '../../../src/policy/classes.ts';
import { mailOf, testDeps } from '../../kit/mail.ts';
import { testConfig } from '../../kit/gateway.ts';

const EVERY = `attachments.enabled = true
campaign.enabled = true
behaviour.enabled = true
auth.enabled = true
urls.files = ["/nonexistent/list"]
url_dns.lists = ["uri.example.org"]
clamd.server = "/nonexistent/clamd"
rspamd.server = "/nonexistent/rspamd"
`;
/** Which classes a filter reports; a filter that is not here fails the test. */
const CLASSES: Readonly<Record<string, RegExp>> = {
  header: /^header\./,
  gtube: /^spam\.gtube$/,
  content: /^content\./,
  attachments: /^attachment\./,
  urls: /^spam\.url$/,
  url_dns: /^spam\.url$/,
  rules: /^spam\.rule$/,
  campaign: /^spam\.campaign$/,
  behaviour: /^behaviour\./,
  auth: /^auth\./,
  rspamd: /^spam\.rspamd/,
  clamd: /^virus\./,
};

/** The same, with this action wherever one stands. */
function withAction<T>(value: T, action: Action): T {
  if (Array.isArray(value)) return value.map((one) => withAction(one, action)) as T;
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, withAction(one, action)])) as T;
  return (ACTIONS as readonly unknown[]).includes(value) ? (action as T) : value;
}

test('filters report, configuration decides: every class of every filter, and its failure, in all five words', async () => {
  const config = await testConfig(['127.0.0.1:2'], { filters: EVERY });
  const rule = { name: 'one', sender: 'a', score: 0.5, action: 'ignore' } as unknown as Config['rule'][number];
  for (const action of ACTIONS) {
    const changed: Config = {
      ...config,
      filters: withAction(config.filters, action),
      rule: [withAction(rule, action)],
    };
    const set = makeFilters(changed, testDeps(changed));
    const filters: readonly Filter[] = [...set.connect, ...set.envelope, ...set.body];
    try {
      assert.deepEqual(filters.map(({ name }) => name).sort(), Object.keys(CLASSES).sort());
      for (const filter of filters) {
        const own = (Object.keys(classes) as Class[]).filter((of) => CLASSES[filter.name]?.test(of));
        assert.ok(own.length > 0, filter.name);
        const led = own.map((of) => [of, filter.actionOf(of, filter.name === 'rules' ? 'one' : '')]);
        assert.deepEqual(
          led,
          own.map((of) => [of, action]),
          filter.name,
        );
        assert.equal(filter.failure, action, `${filter.name}: failure`);
        assert.equal(filter.failureFor?.(mailOf('\r\n')) ?? action, action, `${filter.name}: failure of a text`);
      }
    } finally {
      closeFilters(set);
    }
  }
});
