// The variables that every worker has, whatever it does.

import { logFormats, logLevels, type LogFormat, type LogLevel } from './log-format.ts';
import { oneOf, optional, positiveNumber, seconds, string, type Variable } from './variables.ts';

export const loopEnvironment: {
  readonly WORKER_HEALTH_STALENESS_MULTIPLIER: Variable<number>;
  readonly WORKER_HEALTH_HOST: Variable<string | undefined>;
  readonly WORKER_DRAIN_SECONDS: Variable<number>;
  readonly WORKER_COMMIT: Variable<string | undefined>;
  readonly LOG_FORMAT: Variable<LogFormat>;
  readonly LOG_LEVEL: Variable<LogLevel>;
} = {
  WORKER_HEALTH_STALENESS_MULTIPLIER: positiveNumber({
    description: 'How many times its cadence a loop may be silent before it counts as stuck.',
    default: 3,
    min: 1,
  }),
  WORKER_HEALTH_HOST: optional(
    string({ description: 'The address that the sidecar listens on. Unset: every interface.' }),
  ),
  WORKER_DRAIN_SECONDS: seconds({
    description: 'How long a stopping worker lets batches finish before it aborts them.',
    default: 45,
  }),
  WORKER_COMMIT: optional(
    string({ description: 'The commit that the worker was built from, for worker_build_info.' }),
  ),
  LOG_FORMAT: oneOf(logFormats, { description: 'json for machines, pretty for people.', default: 'json' }),
  LOG_LEVEL: oneOf(logLevels, { description: 'The least severe level that is logged.', default: 'info' }),
};
