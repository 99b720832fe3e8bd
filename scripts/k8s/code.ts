// What the manifests must agree with, taken from the code itself: the variables of each worker, its ports, how long it may
// need to stop.

import { pushWorkerCommand } from '../../apps/push-worker/src/command.ts';
import { watchWorkerCommand } from '../../apps/watch-worker/src/command.ts';
import { workerCommand } from '../../apps/worker/src/command.ts';
import { cliVariables } from '../../packages/cli/src/cli-variables.ts';
import { wholeEnvironment } from '../../packages/loop/src/worker-command.ts';
import type { EnvironmentSchema } from '@pulsebox/loop';

export interface WorkerInCode {
  readonly name: string;
  readonly port: number;
  readonly portVariable: string;
  readonly variables: EnvironmentSchema;
}

export const WORKERS: readonly WorkerInCode[] = [workerCommand, pushWorkerCommand, watchWorkerCommand].map(
  (command) => ({
    name: command.name,
    port: command.healthPort.default,
    portVariable: command.healthPort.variable,
    variables: wholeEnvironment(command as unknown as Parameters<typeof wholeEnvironment>[0]),
  }),
);

/** Of every program in the image. */
export const ALL_VARIABLES: EnvironmentSchema = Object.assign(
  {},
  ...WORKERS.map(({ variables }) => variables),
  cliVariables,
) as EnvironmentSchema;

/** What Node itself reads. */
export const NODE_VARIABLES: readonly string[] = ['NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS', 'NODE_ENV', 'TZ'];

/** After the drain time a worker aborts, stops its loops and closes: at most so long (packages/loop/README.md). */
export const SECONDS_AFTER_DRAIN = 10;
