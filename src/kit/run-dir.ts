/**
 * What stands where in run_dir, and who may touch it. The supervisor or systemd-tmpfiles makes it (systemd/postern.tmpfiles).
 *
 * run_dir itself is root's: no role can put its own socket where another's is looked for. Each role that has to make
 * files has a directory of its own; what is for all roles is given to their shared group (kit/users.ts).
 */
import { join } from 'node:path';

export type RunPaths = {
  /** keeper's alone to write; the set-group-id bit gives its socket to the shared group */
  readonly keeperDir: string;
  /** where the keeper listens */
  readonly keeperListen: string;
  /** where everybody finds the keeper: a link to that, since only the keeper's directory is the keeper's to write */
  readonly keeperSocket: string;
  /** keeper's to write, workers' to read: no other role's, since what is in it signs */
  readonly issuerDir: string;
  readonly issuer: string;
  /** the workers' alone: bodies too large for memory, in files without a name */
  readonly spoolDir: string;
  /** worker N's listener for the guard's probe */
  readonly probe: (worker: number) => string;
  /** the configuration that the supervisor has checked; the roles under it read this copy */
  readonly config: string;
  /** root's to write, the roles' to read: what came of the panel's last wish, and the configuration that is on trial */
  readonly wishAnswer: string;
  readonly trial: string;
  /** where each role under the supervisor sees the code, in a mount namespace of its own */
  readonly code: string;
};

export function runPaths(runDir: string): RunPaths {
  return {
    keeperDir: join(runDir, 'keeper'),
    keeperListen: join(runDir, 'keeper/keeper.sock'),
    keeperSocket: join(runDir, 'keeper.sock'),
    issuerDir: join(runDir, 'issuer'),
    issuer: join(runDir, 'issuer/issuer.pem'),
    spoolDir: join(runDir, 'spool'),
    probe: (worker) => join(runDir, `worker-${worker}.probe`),
    config: join(runDir, 'postern.toml'),
    wishAnswer: join(runDir, 'wish-answer.json'),
    trial: join(runDir, 'trial.json'),
    code: join(runDir, 'code'),
  };
}
