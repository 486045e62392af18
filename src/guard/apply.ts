/**
 * Brings the kernel from what it holds to what is planned. The steps come from changes.ts in their order; each is done
 * whole before the next, and a table's step happens in one instant or not at all.
 */
import { writeFileSync } from 'node:fs';
import { mustRun } from '../kit/command.ts';
import { changes, type Step } from './changes.ts';
import type { DesiredState } from './desired.ts';
import type { KernelState } from './kernel-text.ts';
import { readKernel } from './read.ts';
import { RESTORE } from './render.ts';
import { Spelling } from './spelling.ts';

/**
 * Does what is missing and returns it; nothing when the kernel was as planned. `kernel` is what was just read of it.
 * A step that fails does not hold up the others, since each is some protection by itself; then it rejects with what
 * failed. What was done stands, and the next call takes it from there.
 */
export async function apply(desired: DesiredState, kernel: KernelState, spelling: Spelling): Promise<Step[]> {
  const steps = changes(desired, kernel, spelling);
  const failures: string[] = [];
  for (const step of steps) await execute(step).catch((error: Error) => failures.push(error.message));
  if (steps.some(({ kind }) => kind === 'tables')) learnSpelling(desired, await readKernel(), spelling);
  if (failures.length > 0) throw new Error(`the kernel did not take all of the rules: ${failures.join('; ')}`);
  return steps;
}

/** Reads and applies once, as the boot unit does. */
export async function applyOnce(desired: DesiredState): Promise<Step[]> {
  return apply(desired, await readKernel(), new Spelling());
}

export async function execute(step: Step): Promise<void> {
  switch (step.kind) {
    case 'sysctl':
      writeFileSync(`/proc/sys/${step.key}`, `${step.value}\n`);
      return;
    case 'routing':
      await mustRun('ip', [`-${step.family}`, '-force', '-batch', '-'], { input: step.text });
      return;
    case 'sets':
      await mustRun('ipset', ['restore'], { input: step.text });
      return;
    case 'tables':
      await mustRun(RESTORE[step.family], ['--noflush', '-w', '5'], { input: step.text });
  }
}

function learnSpelling(desired: DesiredState, kernel: KernelState, spelling: Spelling): void {
  for (const [family, { tables }] of kernel.families) {
    for (const { name, chains, jumps } of desired.families[family].tables) {
      const printed = (chain: string): string[] => (tables.get(name)?.get(chain) ?? []).map(({ rule }) => rule);
      for (const chain of chains) spelling.learn(`${family} ${name} ${chain.name}`, chain.rules, printed(chain.name));
      for (const { from, rules } of jumps)
        spelling.learn(`${family} ${name} ${from} jump`, rules, printed(from).slice(0, rules.length));
    }
  }
}
