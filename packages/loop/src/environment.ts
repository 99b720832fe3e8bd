// An application's configuration: declared once, parsed once, every fault reported at once.

import { LoopError } from './loop-error.ts';
import { redactText } from './redact.ts';
import type { Variable } from './variables.ts';

/** Variables by their names, as they stand in the environment. */
export type EnvironmentSchema = Readonly<Record<string, Variable<unknown>>>;

/** What a schema yields: the same names, with typed values. */
export type Environment<S extends EnvironmentSchema> = {
  readonly [Name in keyof S]: S[Name] extends Variable<infer T> ? T : never;
};

export interface ParseEnvironmentOptions<S extends EnvironmentSchema> {
  /** What to call a variable in a fault, when its value came from elsewhere (a flag). */
  readonly calledBy?: Readonly<Record<string, string>>;
  /** Rules between variables, asked when each by itself is good: sentences, or none. */
  readonly check?: (config: Environment<S>) => readonly string[];
}

/**
 * Parses `env` (an application passes `process.env`). An empty string counts as unset.
 * @throws LoopError LOOP_ENV_INVALID, its message one line a fault. The values of secrets are never in it.
 */
export function parseEnvironment<S extends EnvironmentSchema>(
  schema: S,
  env: Readonly<Record<string, string | undefined>>,
  options: ParseEnvironmentOptions<S> = {},
): Environment<S> {
  const values: Record<string, unknown> = {};
  const faults: string[] = [];
  for (const [name, variable] of Object.entries(schema)) {
    const raw = env[name]?.trim() === '' ? undefined : env[name]?.trim();
    const parsed = variable.parse(raw);
    if (parsed.fault) {
      const expected = parsed.expected ?? variable.expected;
      faults.push(describeFault(options.calledBy?.[name] ?? name, { ...variable, expected }, raw));
    } else values[name] = parsed.value;
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the loop above has put each variable's value there
  const config = values as Environment<S>;
  if (faults.length === 0 && options.check !== undefined) faults.push(...options.check(config));
  if (faults.length > 0) throw environmentError(faults);
  return config;
}

function environmentError(faults: readonly string[]): LoopError {
  return new LoopError('LOOP_ENV_INVALID', faults.join('\n'), {
    hint: 'run with --help to see every variable with its meaning and its default',
  });
}

function describeFault(name: string, variable: Variable<unknown>, raw: string | undefined): string {
  const expectation = `expected ${name} to be ${variable.expected}`;
  if (raw === undefined) return `${expectation}, but it is not set`;
  return variable.secret ? `${expectation} (its value is not shown)` : `${expectation}, got "${shown(raw)}"`;
}

function shown(raw: string): string {
  const text = redactText(raw).replaceAll(/[\p{Cc}\p{Cf}]/gu, ' ');
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
