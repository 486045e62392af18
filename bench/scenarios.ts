/** What is measured, and what Postern has to reach. */
import type { LoadOptions } from './programs.ts';

export type Scenario = {
  readonly name: string;
  readonly about: string;
  readonly load: LoadOptions;
  readonly unit: 'msg/s' | 'MB/s' | 'refusals/s';
  /** messages that take long are counted from the first to the last one's end */
  readonly toEnd?: true;
  /** how long one sample takes, as a multiple of the usual */
  readonly longer?: number;
  /** least ratio of Postern to these */
  readonly atLeast?: Readonly<Partial<Record<'haproxy' | 'postfix' | 'haraka', number>>>;
};

const SIZE_BYTES = 4096;

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'a',
    about: 'one 4 KB message per connection, 50 connections',
    load: { connections: 50, size: SIZE_BYTES },
    unit: 'msg/s',
    atLeast: { haproxy: 1.0, postfix: 2.5, haraka: 10 },
  },
  {
    name: 'a400',
    about: 'the same with 400 connections',
    load: { connections: 400, size: SIZE_BYTES },
    unit: 'msg/s',
  },
  {
    name: 'b',
    about: 'ten 4 KB messages per connection, 50 connections',
    load: { connections: 50, messages: 10, size: SIZE_BYTES },
    unit: 'msg/s',
    atLeast: { haproxy: 0.9, postfix: 2.5, haraka: 9 },
  },
  {
    name: 'b400',
    about: 'the same with 400 connections',
    load: { connections: 400, messages: 10, size: SIZE_BYTES },
    unit: 'msg/s',
  },
  {
    name: 'b20',
    about: 'as b, smarthost takes 20 ms for its final reply',
    load: { connections: 50, messages: 10, size: SIZE_BYTES, rcpt: 'wait20@example.net' },
    unit: 'msg/s',
  },
  {
    name: 'a20',
    about: 'as a400, smarthost takes 20 ms for its final reply',
    load: { connections: 400, size: SIZE_BYTES, rcpt: 'wait20@example.net' },
    unit: 'msg/s',
  },
  {
    name: 'c',
    about: '10 MB messages, one line in 40 dot-stuffed, 4 connections',
    load: { connections: 4, size: 10 * 1024 * 1024, dots: 40 },
    unit: 'MB/s',
    toEnd: true,
    longer: 1.5,
    atLeast: { haproxy: 0.85, postfix: 3, haraka: 25 },
  },
  {
    name: 'e',
    about: 'recipient refused by the smarthost, 50 connections',
    load: { connections: 50, mode: 'reject', rcpt: 'refused@example.net' },
    unit: 'refusals/s',
    atLeast: { haproxy: 1.2, postfix: 3, haraka: 5 },
  },
  {
    name: 'e400',
    about: 'the same with 400 connections',
    load: { connections: 400, mode: 'reject', rcpt: 'refused@example.net' },
    unit: 'refusals/s',
  },
  {
    name: 'p',
    about: 'pipelining client, 100 messages of 4 KB per connection, 50 connections',
    load: { connections: 50, messages: 100, size: SIZE_BYTES, mode: 'pipelined' },
    unit: 'msg/s',
    atLeast: { haproxy: 0.6, postfix: 4, haraka: 25 },
  },
  {
    name: 'l',
    about: 'one session at a time, one 4 KB message each',
    load: { connections: 1, size: SIZE_BYTES },
    unit: 'msg/s',
  },
];

/** With the source address kept: one upstream connection for each session. */
export const KEPT: Scenario = {
  name: 's',
  about: 'one 4 KB message per connection to the server called, from the host, 50 connections',
  load: { connections: 50, size: SIZE_BYTES },
  unit: 'msg/s',
  atLeast: { haproxy: 0.8, postfix: 2 },
};

/** Throws for a name that is not there. */
export function scenarioNamed(name: string): Scenario {
  const found = SCENARIOS.find((scenario) => scenario.name === name);
  if (!found) throw new Error(`no scenario ${name}`);
  return found;
}
