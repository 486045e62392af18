import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inheritedListeners } from '../../../src/kit/inherited.ts';

test('the descriptors from 3 up, in order', () => {
  assert.deepEqual(inheritedListeners({ LISTEN_PID: '42', LISTEN_FDS: '3' }, 42), [3, 4, 5]);
});

test('none when they are meant for another process, or not said as they should be', () => {
  for (const env of [
    {},
    { LISTEN_FDS: '3' },
    { LISTEN_PID: '43', LISTEN_FDS: '3' },
    { LISTEN_PID: '42' },
    { LISTEN_PID: '42', LISTEN_FDS: '0' },
    { LISTEN_PID: '42', LISTEN_FDS: '-1' },
    { LISTEN_PID: '42', LISTEN_FDS: '3x' },
    { LISTEN_PID: '42', LISTEN_FDS: '1000' },
  ])
    assert.deepEqual(inheritedListeners(env, 42), [], JSON.stringify(env));
});
