// The one entry of @pulsebox/loop: time and processes, no SQL.

export { createBackoff, type Backoff, type BackoffOptions } from './backoff.ts';
export {
  parseEnvironment,
  type Environment,
  type EnvironmentSchema,
  type ParseEnvironmentOptions,
} from './environment.ts';
export { healthCheckNames, type HealthCheckName, type ValueFlag, type WorkerFlags } from './flags.ts';
export { healthcheck, type HealthcheckOptions, type HealthcheckResult } from './healthcheck.ts';
export { logFormats, logLevels, type LogFormat, type LogLevel } from './log-format.ts';
export { createLogger, type Logger, type LoggerOptions } from './logger.ts';
export { loopEnvironment } from './loop-environment.ts';
export { LoopError, loopErrorCodes, type LoopErrorCode, type LoopErrorOptions } from './loop-error.ts';
export type { Loop, LoopCheck, TickContext, TickResult } from './loop.ts';
export { createRegistry, type Registry } from './metrics.ts';
export { redactText } from './redact.ts';
export { runWorker } from './run-worker.ts';
export { sleep } from './sleep.ts';
export * as env from './variables.ts';
export type { Variable } from './variables.ts';
export {
  runWorkerCommand,
  wholeEnvironment,
  type ComposeContext,
  type Composition,
  type WorkerCommand,
  type WorkerProcess,
} from './worker-command.ts';
export { createWorker, type Worker } from './worker.ts';
export type { WorkerOptions } from './worker-options.ts';
