// The whole of a worker's command: an application declares what it is and composes its loops; the rest is here.

import { endProcess, endProcessSoon } from './end-process.ts';
import { parseEnvironment, type Environment, type EnvironmentSchema } from './environment.ts';
import {
  parseCommandLine,
  type HealthcheckCommand,
  type RunCommand,
  type ValueFlag,
  type WorkerFlags,
} from './flags.ts';
import { healthcheck } from './healthcheck.ts';
import { renderHelp } from './help.ts';
import { createLogger, type Logger } from './logger.ts';
import type { Loop } from './loop.ts';
import { loopEnvironment } from './loop-environment.ts';
import { LoopError } from './loop-error.ts';
import { createRegistry, type Registry } from './metrics.ts';
import { assertNodeVersion } from './node-version.ts';
import { runWorker } from './run-worker.ts';
import { port } from './variables.ts';

export interface WorkerCommand<S extends EnvironmentSchema> {
  readonly name: string;
  /** One sentence, for --help. */
  readonly description: string;
  readonly version: string;
  /** Where the sidecar listens: the variable that says so, and what it is without. */
  readonly healthPort: { readonly variable: string; readonly default: number };
  /** The application's own variables; those of the library are added. */
  readonly environment: S;
  /** Rules between variables: sentences, or none. */
  readonly check?: (config: Environment<S>) => readonly string[];
  /**
   * Flags that stand for a variable and win over it: their value is in `config` then. The others are accepted, as
   * workers are started alike, and --help and a warning say that they have no effect.
   */
  readonly flagVariables?: Readonly<Partial<Record<ValueFlag, keyof S & string>>>;
  /** What every line of the log says besides, asked as it is written. Must not throw. */
  readonly logFields?: () => Readonly<Record<string, string>>;
  /** Makes the loops. `close` is called once, when all of them have stopped. */
  compose(context: ComposeContext<S>): Composition | Promise<Composition>;
}

export interface ComposeContext<S extends EnvironmentSchema> {
  readonly config: Environment<S>;
  readonly flags: WorkerFlags;
  readonly log: Logger;
  /** For metric families of one's own. */
  readonly registry: Registry;
}

export interface Composition {
  readonly loops: readonly Loop[];
  close?(): Promise<void>;
}

export interface WorkerProcess {
  /** Without node and script: `process.argv.slice(2)`. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Runs the command line to its end and returns the exit code, which is set as `process.exitCode` too. Rejects only on a bug:
 * faults are said on standard error (before there is a log) or logged. Owns the process as `runWorker` does.
 */
export async function runWorkerCommand<S extends EnvironmentSchema>(
  command: WorkerCommand<S>,
  { argv, env }: WorkerProcess,
): Promise<number> {
  let exitCode: number;
  try {
    exitCode = await dispatch(command, argv, env);
  } catch (error) {
    if (!(error instanceof LoopError)) throw error;
    process.stderr.write(`${command.name}: ${error.message.replaceAll('\n', `\n${command.name}: `)}\n`);
    if (error.hint !== undefined) process.stderr.write(`hint: ${error.hint}\n`);
    exitCode = error.code === 'LOOP_FLAGS_INVALID' ? 2 : 1;
  }
  if (exitCode === 0) process.exitCode = 0;
  else endProcessSoon(exitCode);
  return exitCode;
}

async function dispatch<S extends EnvironmentSchema>(
  command: WorkerCommand<S>,
  argv: readonly string[],
  env: WorkerProcess['env'],
): Promise<number> {
  assertNodeVersion(process.versions.node);
  const line = parseCommandLine(argv);
  if (line.command === 'run') return run(command, line, env);
  if (line.command === 'healthcheck') return runHealthcheck(command, line, env);
  const { name, version, flagVariables = {} } = command;
  const text =
    line.command === 'version'
      ? `${name} ${version}\n`
      : renderHelp({ ...command, flagVariables, environment: wholeEnvironment(command) });
  process.stdout.write(text);
  return 0;
}

/** Every variable that the command reads: the application's, its health port's and the library's. */
export function wholeEnvironment(
  command: Pick<WorkerCommand<EnvironmentSchema>, 'environment' | 'healthPort'>,
): EnvironmentSchema {
  const { environment, healthPort } = command;
  return { ...environment, ...healthPortVariable(healthPort), ...loopEnvironment };
}

function healthPortVariable(healthPort: WorkerCommand<EnvironmentSchema>['healthPort']): EnvironmentSchema {
  const description = 'The port of the sidecar: /health and /metrics.';
  return { [healthPort.variable]: port({ description, default: healthPort.default }) };
}

async function run<S extends EnvironmentSchema>(
  command: WorkerCommand<S>,
  { flags, raw }: RunCommand,
  env: WorkerProcess['env'],
): Promise<number> {
  const { name, version, flagVariables = {}, healthPort, check } = command;
  // A flag takes the place of its variable before anything is parsed: one parser, one set of rules, one fault text.
  const overridden: Record<string, string | undefined> = { ...env };
  const calledBy: Record<string, string> = {};
  const idle: string[] = [];
  for (const [flag, value] of raw) {
    const variable = flagVariables[flag];
    if (variable === undefined) {
      idle.push(`--${flag}`);
      continue;
    }
    overridden[variable] = value;
    calledBy[variable] = `--${flag}`;
  }
  const parsed = parseEnvironment(wholeEnvironment(command), overridden, {
    calledBy,
    ...(check === undefined ? {} : { check: (all) => check(asConfig<S>(all)) }),
  });
  const config = asConfig<S>(parsed);
  const own = asConfig<typeof loopEnvironment>(parsed);
  const log = createLogger({
    worker: name,
    format: own.LOG_FORMAT,
    level: own.LOG_LEVEL,
    ...(command.logFields === undefined ? {} : { fields: command.logFields }),
  });
  const registry = createRegistry();
  // All workers know the same flags, so that one command line starts any of them.
  if (idle.length > 0) log.warn({ flags: idle }, 'flags of no effect in this worker');

  // As process 1 of a container it would be deaf to a signal that nobody listens to.
  const endOnSignal = (signal: string): void => {
    log.info({ reason: signal }, 'stopping before anything was started');
    endProcess(0);
  };
  process.on('SIGTERM', endOnSignal).on('SIGINT', endOnSignal);
  try {
    let composition: Composition;
    try {
      composition = await command.compose({ config, flags, log, registry });
    } catch (error) {
      log.fatal({ err: error }, 'the worker could not be composed');
      return 1;
    }
    const ended = runWorker({
      name,
      version,
      port: Number(parsed[healthPort.variable]),
      portVariable: healthPort.variable,
      loops: composition.loops,
      once: !flags.loop,
      log,
      registry,
      stalenessMultiplier: own.WORKER_HEALTH_STALENESS_MULTIPLIER,
      drainMs: own.WORKER_DRAIN_SECONDS * 1_000,
      ...(own.WORKER_HEALTH_HOST === undefined ? {} : { host: own.WORKER_HEALTH_HOST }),
      ...(own.WORKER_COMMIT === undefined ? {} : { commit: own.WORKER_COMMIT }),
      ...(composition.close === undefined ? {} : { close: composition.close.bind(composition) }),
    });
    // It listens by now, so that a signal which came meanwhile finds it: with no listener left, Node forgets the signal.
    stopListening();
    return await ended;
  } finally {
    stopListening();
  }

  function stopListening(): void {
    process.off('SIGTERM', endOnSignal).off('SIGINT', endOnSignal);
  }
}

/** The part of the parsed whole that one schema is about. */
function asConfig<S extends EnvironmentSchema>(whole: Environment<EnvironmentSchema>): Environment<S> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the whole was parsed with every variable of S in it
  return whole as Environment<S>;
}

/** Reads nothing but where the sidecar is: a probe must not fail because of a variable it does not need. */
async function runHealthcheck<S extends EnvironmentSchema>(
  { healthPort }: WorkerCommand<S>,
  { check, quiet }: HealthcheckCommand,
  env: WorkerProcess['env'],
): Promise<number> {
  const { WORKER_HEALTH_HOST } = loopEnvironment;
  const schema: EnvironmentSchema = { ...healthPortVariable(healthPort), WORKER_HEALTH_HOST };
  const where: Readonly<Record<string, unknown>> = parseEnvironment(schema, env);
  const host = where['WORKER_HEALTH_HOST'];
  const reachable = typeof host === 'string' && host !== '0.0.0.0' && host !== '::';
  const { healthy, line } = await healthcheck({
    port: Number(where[healthPort.variable]),
    check,
    ...(reachable ? { host } : {}),
  });
  if (!quiet) process.stdout.write(`${line}\n`);
  return healthy ? 0 : 1;
}
