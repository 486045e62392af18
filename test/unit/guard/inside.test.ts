import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, test } from 'node:test';
import { Inside, interfacesHere } from '../../../src/guard/inside.ts';
import { MAX_INSIDE } from '../../../src/ledger/language.ts';
import { logbook } from '../../kit/logbook.ts';
import { needsRoot } from '../../kit/tier.ts';

test('one that is missing is logged once, and again only when it has changed', () => {
  const log = logbook();
  const here = new Set(['lo', 'lan0']);
  const inside = new Inside(['lan0', 'lna0'], log, () => here);
  const said = (): unknown[] => log.entries.map(({ event, fields }) => `${event} ${String(fields['interface'])}`);
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(inside.look(), [
      { interface: 'lan0', present: true },
      { interface: 'lna0', present: false },
    ]);
  }
  assert.deepEqual(said(), ['interface.missing lna0']);
  here.add('lna0').delete('lan0');
  for (let i = 0; i < 3; i++) inside.look();
  assert.deepEqual(said().slice(1), ['interface.missing lan0', 'interface.there lna0']);
});

test('a new configuration is asked about from then on', () => {
  const log = logbook();
  const inside = new Inside(['lna0'], log, () => new Set(['lan0']));
  inside.look();
  inside.replace(['lan0']);
  assert.deepEqual(inside.look(), [{ interface: 'lan0', present: true }]);
  inside.replace(['lna0']);
  inside.look();
  assert.deepEqual(log.events(), ['interface.missing', 'interface.missing'], 'a mistake made again is said again');
});

test('what cannot be known is said once, and nothing is called missing', () => {
  const log = logbook();
  const inside = new Inside(['lan0'], log, () => {
    throw new Error('EACCES');
  });
  assert.deepEqual([inside.look(), inside.look()], [[], []]);
  assert.deepEqual(log.events(), ['interface.unknown']);
});

test('the report is bounded as its reader demands', () => {
  const names = Array.from({ length: MAX_INSIDE + 1 }, (_, i) => `v${i}`);
  assert.equal(new Inside(names, logbook(), () => new Set(names)).look().length, MAX_INSIDE);
});

test('the loopback interface is here, a name with a slip is not', () => {
  assert.ok(interfacesHere().has('lo'));
  assert.ok(!interfacesHere().has('lna0'));
});

test('the interfaces are those of our own network namespace, whatever /sys shows', { skip: needsRoot }, () => {
  const name = `pst-in-${process.pid}`;
  const ip = (...args: string[]): void => assert.equal(spawnSync('ip', args).status, 0, args.join(' '));
  after(() => spawnSync('ip', ['netns', 'del', name]));
  ip('netns', 'add', name);
  ip('-n', name, 'link', 'add', 'pst-a', 'type', 'veth', 'peer', 'name', 'pst-b');
  const file = new URL('../../../src/guard/inside.ts', import.meta.url).href;
  const script = `import(${JSON.stringify(file)}).then((it) => console.log([...it.interfacesHere()].sort().join()))`;
  // nsenter leaves /sys as it is
  const args = [`--net=/run/netns/${name}`, process.execPath, '-e', script];
  const { stdout, stderr } = spawnSync('nsenter', args, { encoding: 'utf8', timeout: 120_000 });
  assert.deepEqual(
    [
      stdout
        .trim()
        .split(',')
        .filter((one) => one === 'lo' || one.startsWith('pst-')),
      stderr,
    ],
    [['lo', 'pst-a', 'pst-b'], ''],
  );
  assert.ok(!interfacesHere().has('pst-a'));
});
