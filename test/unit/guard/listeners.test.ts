import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { openWorkerListeners, portIsTaken } from '../../../src/guard/listeners.ts';
import { runPaths } from '../../../src/kit/run-dir.ts';
import { needsRoot } from '../../kit/tier.ts';

describe('the listeners of a worker', { skip: needsRoot }, () => {
  const runDir = mkdtempSync(join(tmpdir(), 'postern-listeners-'));
  after(() => rmSync(runDir, { recursive: true }));
  const port = 20_000 + (process.pid % 10_000);
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  const open = (worker: number, more = {}): ReturnType<typeof openWorkerListeners> =>
    openWorkerListeners({ worker, port, runDir, gid: 0, ...more });

  test('several workers share the port; an earlier gateway on it is noticed', () => {
    assert.equal(portIsTaken(port), false);
    const before = descriptors();
    const both = [open(1), open(2)];
    assert.equal(descriptors(), before + 6);
    assert.equal(portIsTaken(port), true);
    assert.ok(statSync(runPaths(runDir).probe(2)).isSocket());
    for (const { close } of both) close();
    assert.equal(portIsTaken(port), false);
    assert.equal(descriptors(), before);
  });

  test('one that cannot be opened leaves none of its siblings open', () => {
    const before = descriptors();
    assert.throws(() => open(1, { runDir: '/nonexistent' }), { code: 'ENOENT', syscall: 'bind' });
    assert.equal(descriptors(), before);
    assert.equal(portIsTaken(port), false);
  });
});
