/** Metrics of a keeper that has nothing to tell, but for what a test says. */
import { Metrics, type Sources } from '../../src/record/metrics.ts';

export function quietMetrics(change: Partial<Sources> = {}): Metrics {
  return new Metrics({
    version: '0',
    intercepting: () => true,
    locks: () => 0,
    verifying: () => 0,
    syslogDropped: () => 0,
    webhookDropped: () => 0,
    reports: () => ({ sent: 0, dropped: 0, looped: 0 }),
    journal: () => ({
      ok: true,
      problem: undefined,
      path: '',
      oldest: undefined,
      written: 0,
      dropped: 0,
      waiting: 0,
      sizeBytes: 0,
    }),
    certificates: () => ({ authority: undefined, issuer: undefined }),
    configErrors: () => ({ keeper: 0, guard: 0 }),
    ...change,
  });
}
