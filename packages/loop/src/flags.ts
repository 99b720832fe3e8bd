// The command line that all workers share.

import { parseArgs, type ParseArgsOptionsConfig } from 'node:util';
import { LoopError } from './loop-error.ts';

/** The flags as an application sees them; undefined: not given. */
export interface WorkerFlags {
  readonly loop: boolean;
  readonly batchSize: number | undefined;
  readonly intervalSeconds: number | undefined;
  readonly idleWaitSeconds: number | undefined;
  readonly listenNotify: boolean | undefined;
}

/** The flags that may stand for an environment variable, and win over it. */
const valueFlags = ['batch-size', 'interval', 'idle-wait', 'listen-notify'] as const;
export type ValueFlag = (typeof valueFlags)[number];

export const healthCheckNames = ['live', 'ready', 'startup'] as const;
export type HealthCheckName = (typeof healthCheckNames)[number];

export interface RunCommand {
  readonly command: 'run';
  readonly flags: WorkerFlags;
  /** The value flags that were given, as they were written. */
  readonly raw: ReadonlyMap<ValueFlag, string>;
}

export interface HealthcheckCommand {
  readonly command: 'healthcheck';
  readonly check: HealthCheckName;
  readonly quiet: boolean;
}

export type CommandLine =
  | RunCommand
  | HealthcheckCommand
  | { readonly command: 'help' }
  | { readonly command: 'version' };

const runOptions: ParseArgsOptionsConfig = {
  loop: { type: 'boolean' },
  'batch-size': { type: 'string' },
  interval: { type: 'string' },
  'idle-wait': { type: 'string' },
  'listen-notify': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'V' },
};

const healthcheckOptions: ParseArgsOptionsConfig = {
  check: { type: 'string' },
  quiet: { type: 'boolean', short: 'q' },
  help: { type: 'boolean', short: 'h' },
};

/** @throws LoopError LOOP_FLAGS_INVALID, its message one line a fault */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  return argv[0] === 'healthcheck' ? parseHealthcheck(argv.slice(1)) : parseRun(argv);
}

function parseRun(argv: readonly string[]): CommandLine {
  const { given, faults } = parse(argv, runOptions, 'healthcheck');
  if (given.has('help')) return { command: 'help' };
  if (given.has('version')) return { command: 'version' };

  const positive = (
    flag: ValueFlag,
    expected: string,
    holds: (value: number) => boolean,
  ): number | undefined => {
    const raw = given.get(flag);
    if (raw === undefined) return undefined;
    const value = raw.trim() === '' ? Number.NaN : Number(raw);
    if (value > 0 && holds(value)) return value;
    faults.push(`expected --${flag} to be ${expected}, got "${raw}"`);
    return undefined;
  };
  const listenNotify = given.get('listen-notify');
  const flags: WorkerFlags = {
    loop: given.has('loop'),
    batchSize: positive('batch-size', 'a whole number from 1 up', Number.isSafeInteger),
    intervalSeconds: positive('interval', 'a positive number', Number.isFinite),
    idleWaitSeconds: positive('idle-wait', 'a positive number', Number.isFinite),
    listenNotify: listenNotify === undefined ? undefined : listenNotify === 'true',
  };
  refuse(faults);
  const raw = new Map<ValueFlag, string>();
  for (const flag of valueFlags) {
    const value = given.get(flag);
    if (value !== undefined) raw.set(flag, value);
  }
  return { command: 'run', flags, raw };
}

function parseHealthcheck(argv: readonly string[]): CommandLine {
  const { given, faults } = parse(argv, healthcheckOptions, undefined);
  if (given.has('help')) return { command: 'help' };
  const asked = given.get('check') ?? 'live';
  const check = healthCheckNames.find((name) => name === asked);
  if (check === undefined) {
    faults.push(`expected --check to be one of ${healthCheckNames.join(', ')}, got "${asked}"`);
  }
  refuse(faults);
  return { command: 'healthcheck', check: check ?? 'live', quiet: given.has('quiet') };
}

/**
 * What was given, by long name; booleans as `true` and `false`. parseArgs is asked not to be strict, because when it
 * is, it stops at the first fault and does not say which flags it knows.
 */
function parse(
  argv: readonly string[],
  options: ParseArgsOptionsConfig,
  command: string | undefined,
): { readonly given: ReadonlyMap<string, string>; readonly faults: string[] } {
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<string, string>();
  const faults: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') {
      faults.push(
        `unknown command "${token.value}"${command === undefined ? '' : ` (there is: ${command})`}`,
      );
    }
    if (token.kind !== 'option') continue;
    const negated = token.name.startsWith('no-');
    const name = negated ? token.name.slice(3) : token.name;
    const option = options[name];
    if (option === undefined || (negated && name !== 'listen-notify')) {
      faults.push(`unknown flag ${token.rawName} (known: ${known(options)})`);
    } else if (option.type === 'boolean') {
      if (token.value !== undefined) faults.push(`${token.rawName} takes no value, got "${token.value}"`);
      given.set(name, String(!negated));
    } else if (token.value === undefined || (!token.inlineValue && token.value.startsWith('--'))) {
      faults.push(`${token.rawName} needs a value`);
    } else {
      given.set(name, token.value);
    }
  }
  return { given, faults };
}

function known(options: ParseArgsOptionsConfig): string {
  return Object.keys(options)
    .map((name) => (name === 'listen-notify' ? '--[no-]listen-notify' : `--${name}`))
    .join(' ');
}

function refuse(faults: readonly string[]): void {
  if (faults.length === 0) return;
  throw new LoopError('LOOP_FLAGS_INVALID', faults.join('\n'), {
    hint: 'run with --help to see what there is',
  });
}
