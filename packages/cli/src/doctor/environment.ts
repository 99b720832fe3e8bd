// The environment as a worker would read it, whichever worker.

import { env, LoopError, loopEnvironment, parseEnvironment } from '@pulsebox/loop';
import {
  checkImports,
  checkMail,
  checkRuntimes,
  databaseVariables,
  importVariables,
  mailVariables,
  outboxVariables,
  runtimeVariables,
  searchVariables,
  upkeepVariables,
} from '@pulsebox/worker-base';
import { fail, ok } from './finding.ts';
import type { Finding } from './finding.ts';

const everyVariable = {
  ...databaseVariables,
  ...outboxVariables,
  ...searchVariables,
  ...mailVariables,
  ...importVariables,
  ...runtimeVariables,
  ...upkeepVariables,
  ...loopEnvironment,
  WORKER_HEALTH_PORT: env.port({ description: 'The port of the sidecar of `worker`.', default: 9090 }),
};

/** One finding for each variable that cannot be used. */
export function checkEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): readonly Finding[] {
  try {
    parseEnvironment(everyVariable, environment, {
      check: (config) => [...checkMail(config), ...checkImports(config), ...checkRuntimes(config)],
    });
    return [ok('all environment variables can be used')];
  } catch (error) {
    if (!(error instanceof LoopError)) throw error;
    return error.message
      .split('\n')
      .map((fault) => fail(fault, 'mend or unset the variable; `worker --help` describes each'));
  }
}
