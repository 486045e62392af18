/** Each kind of field: what it takes, what it makes of it, what it refuses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { camel, type Field, listOf, optional } from '../../../src/config/field.ts';
import { endpoint, hostName, interfaceName, prefix, service } from '../../../src/config/value/net.ts';
import { boolean, choice, countOrAuto, integer, path, text } from '../../../src/config/value/plain.ts';
import { durationMs, perSecond, sizeBytes } from '../../../src/config/value/quantity.ts';
import { seed } from '../../kit/tier.ts';

const spec = { doc: 'doc' };

function takes<T>(of: Field<T>, pairs: readonly (readonly [unknown, unknown])[]): void {
  for (const [raw, value] of pairs) assert.deepEqual(of.parse(raw), { value }, JSON.stringify(raw));
}

function refuses<T>(of: Field<T>, values: readonly unknown[]): void {
  for (const raw of values) assert.deepEqual(of.parse(raw), { expected: of.type }, String(raw));
}

const noField = [undefined, null, {}, [], true, Number.NaN, new Date(0), 10n ** 20n];

test('a duration is a number with its unit, within its bounds, both included', () => {
  const of = durationMs({ ...spec, min: '100ms', max: '1h' });
  takes(of, [
    ['100ms', 100],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['3600s', 3_600_000],
  ]);
  refuses(of, [
    '99ms',
    '0s',
    '61m',
    '1d',
    '30',
    30,
    '-1s',
    '1.5s',
    '30 s',
    ' 30s',
    '30S',
    '9999999999s',
    '1h30m',
    ...noField,
  ]);
  takes(durationMs({ ...spec, max: '3650d' }), [
    ['0s', 0],
    ['32d', 2_764_800_000],
  ]);
});

test('a size is a number with its binary unit, at least one byte', () => {
  const of = sizeBytes({ ...spec, max: '1GiB' });
  takes(of, [
    ['1B', 1],
    ['256KiB', 262_144],
    ['50MiB', 52_428_800],
    ['1GiB', 1_073_741_824],
  ]);
  refuses(of, ['0B', '0MiB', '2GiB', '1025MiB', '50MB', '50M', '50', 50, '-1B', '50 MiB', ...noField]);
});

test('a quantity is taken exactly when it is within its bounds', () => {
  const of = sizeBytes({ ...spec, min: '1KiB', max: '1MiB' });
  const units = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
  fc.assert(
    fc.property(fc.nat(3000), fc.constantFrom(...(Object.keys(units) as (keyof typeof units)[])), (count, unit) => {
      const bytes = count * units[unit];
      assert.equal('value' in of.parse(`${count}${unit}`), bytes >= 1024 && bytes <= 1024 ** 2);
    }),
    { seed },
  );
});

test('a rate is per second once read', () => {
  const of = perSecond(spec);
  takes(of, [
    ['50/s', 50],
    ['600/m', 10],
    ['1/m', 1 / 60],
    ['10000/s', 10_000],
    ['600000/m', 10_000],
  ]);
  refuses(of, ['0/s', '0/m', '10001/s', '600001/m', '50/h', '50', '50/S', '-1/s', '1.5/s', ...noField]);
});

test('an integer is whole and within its bounds; a big one of TOML is not', () => {
  const of = integer({ ...spec, min: 1024, max: 65535 });
  takes(of, [
    [1024, 1024],
    [65535, 65535],
  ]);
  refuses(of, [1023, 65536, 2525.5, '2525', Number.POSITIVE_INFINITY, ...noField]);
  const workers = countOrAuto({ ...spec, max: 64 });
  takes(workers, [
    ['auto', 'auto'],
    [1, 1],
    [64, 64],
  ]);
  refuses(workers, [0, 65, '2', 'Auto', ...noField]);
});

test('a choice is one of its words, as they are written', () => {
  const of = choice(['closed', 'open'], spec);
  takes(of, [['open', 'open']]);
  refuses(of, ['Open', 'open ', '', 'toString', ...noField]);
  refuses(boolean(spec), ['true', 1, undefined]);
});

test('a text has no controls and turns nothing around', () => {
  const of = text(spec);
  takes(of, [
    ['gw1', 'gw1'],
    ['Grüße an ünser Netz', 'Grüße an ünser Netz'],
    ['x'.repeat(256), 'x'.repeat(256)],
  ]);
  refuses(of, ['', 'x'.repeat(257), 'a\nb', 'a\u0000', '\u001b[31m', 'a\u202eb', 'a\u2028b', 'a\u007f', ...noField]);
});

test('a path is absolute', () => {
  const of = path(spec);
  takes(of, [['/var/lib/postern', '/var/lib/postern']]);
  refuses(of, ['var/lib', '~/x', '', '/a\u0000b', '/a\nb', `/${'x'.repeat(5000)}`, ...noField]);
});

test('a host name is fully qualified', () => {
  const of = hostName(spec);
  takes(of, [
    ['gw1.example.net', 'gw1.example.net'],
    ['GW-1.Example.NET', 'GW-1.Example.NET'],
    ['xn--mnchen-3ya.example', 'xn--mnchen-3ya.example'],
  ]);
  refuses(of, [
    'gw1',
    'gw_1.example.net',
    'gw1.example.net.',
    '-a.example',
    'a-.example',
    'a..b',
    '192.0.2.1',
    `${'a'.repeat(64)}.example`,
    `${'a.'.repeat(127)}example`,
    ...noField,
  ]);
});

test('an interface name means nothing to iptables and ip but itself', () => {
  const of = interfaceName(spec);
  takes(of, [
    ['lan0', 'lan0'],
    ['eth0.100', 'eth0.100'],
    ['br-lan_2@x', 'br-lan_2@x'],
  ]);
  refuses(of, [
    'lan+',
    '!lan0',
    '-i',
    '--',
    '.',
    '..',
    'lo',
    'a b',
    'a/b',
    'a:1',
    'a"b',
    "a'b",
    'a\nb',
    'abcdefghijklmnop',
    '',
    'ü',
    ...noField,
  ]);
});

test('an endpoint has one spelling', () => {
  const of = endpoint(spec);
  const end = (host: string, port: number, isAddress: boolean, text: string) => ({ host, port, isAddress, text });
  takes(of, [
    ['smtp.example.net:587', end('smtp.example.net', 587, false, 'smtp.example.net:587')],
    ['SMTP.Example.NET:25', end('smtp.example.net', 25, false, 'smtp.example.net:25')],
    ['localhost:25', end('localhost', 25, false, 'localhost:25')],
    ['192.0.2.25:65535', end('192.0.2.25', 65535, true, '192.0.2.25:65535')],
    ['[2001:DB8:0::1]:587', end('2001:db8::1', 587, true, '[2001:db8::1]:587')],
    ['[::ffff:192.0.2.25]:25', end('192.0.2.25', 25, true, '192.0.2.25:25')],
  ]);
  refuses(of, [
    'smtp.example.net',
    ':25',
    'smtp.example.net:',
    'smtp.example.net:0',
    'smtp.example.net:65536',
    'smtp.example.net:025',
    '2001:db8::1:587',
    '[192.0.2.25]:25',
    '[fe80::1%lan0]:25',
    '[::1]',
    '::1',
    'smtp:25',
    '192.0.2.256:25',
    '192.0.2:25',
    'a b.example.net:25',
    ...noField,
  ]);
});

test('an endpoint to listen on is an address', () => {
  const of = endpoint({ ...spec, addressOnly: true });
  assert.ok('value' in of.parse('127.0.0.1:8025'));
  assert.ok('value' in of.parse('[::]:8025'));
  refuses(of, ['localhost:8025', 'gw1.example.net:8025', '8025', 8025, '*:8025']);
});

test('a list is read element by element and is as long as it has to be', () => {
  const of = listOf(interfaceName, { ...spec, min: 1 });
  takes(of, [
    [
      ['lan0', 'lan1'],
      ['lan0', 'lan1'],
    ],
  ]);
  refuses(of, [[], 'lan0', ['lan0', 1], [['lan0']], {}, undefined]);
  takes(listOf(prefix, { ...spec, default: [] }), [[[], []]]);
});

test('an optional field without default is not required, and a default makes a field not required', () => {
  assert.equal(path(spec).required, true);
  assert.equal(optional(path(spec)).required, false);
  assert.equal(path({ ...spec, default: '/x' }).required, false);
});

test('keys become names of code', () => {
  assert.equal(camel('max_connections'), 'maxConnections');
  assert.equal(camel('name'), 'name');
});

test('a service is the path of a socket, or an address or a name with a port', () => {
  const of = service(spec);
  takes(of, [
    ['/run/clamav/clamd.ctl', { text: '/run/clamav/clamd.ctl', path: '/run/clamav/clamd.ctl' }],
    ['127.0.0.1:3310', { text: '127.0.0.1:3310', host: '127.0.0.1', port: 3310 }],
    ['[2001:DB8::1]:3310', { text: '[2001:db8::1]:3310', host: '2001:db8::1', port: 3310 }],
    ['Scanner.example.net:11333', { text: 'scanner.example.net:11333', host: 'scanner.example.net', port: 11333 }],
  ]);
  // A path longer than sun_path cannot be connected to.
  refuses(of, ['', '/', 'clamd.ctl', '127.0.0.1', ':3310', '127.0.0.1:0', '/a b', `/${'x'.repeat(107)}`, ...noField]);
});
