// The flags of npm run torture.

import { parseArgs } from 'node:util';
import { mutantNames, mutants } from './mutants.ts';
import type { MutantName } from './mutants.ts';
import { loadFor } from './plan.ts';
import type { TortureOptions } from './plan.ts';

export interface CommandLine {
  readonly help: boolean;
  readonly options: TortureOptions;
  readonly databaseUrl: string | undefined;
  readonly keep: boolean;
}

const DEFAULT_SECONDS = 60;
const LEASE_TTL_MS = 1_500;
const DEADLINE_MS = 2_000;

export const commandLineHelp = `npm run torture -- [flags]

Writes events from many clients at once, some of which fail, kills and freezes the workers that deliver them, and
compares what was committed with what arrived. Exits 0 when nothing was lost, invented, put out of order, given up or
delivered again without a reason; else 1.

  --minutes N        how long to write and to torture
  --seconds N        the same in seconds (default ${DEFAULT_SECONDS})
  --seed N           repeats the plan of another run (default: a new one, which is printed)
  --writers N        clients that write at once (default ${loadFor(undefined).writers})
  --batch-size N     the same for every worker (default: each process draws one between 20 and 500)
  --database-url U   a server to make a database on (default: an embedded one, with fsync on, removed afterwards)
  --keep             leave the database and the workers' logs where they are
  --mutant NAME      put a fault into the workers; the run must fail:
${mutantNames.map((name) => `                       ${name.padEnd(12)} ${mutants[name].about}`).join('\n')}
  --help`;

/** @throws when a flag is unknown or its value cannot be used */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      help: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      minutes: { type: 'string' },
      seconds: { type: 'string' },
      seed: { type: 'string' },
      writers: { type: 'string' },
      'batch-size': { type: 'string' },
      'database-url': { type: 'string' },
      mutant: { type: 'string' },
    },
  });
  const mutant = values.mutant === undefined ? undefined : mutantNamed(values.mutant);
  const load = loadFor(mutant);
  const seconds = positive('--seconds', values.seconds) ?? (positive('--minutes', values.minutes) ?? 0) * 60;
  return {
    help: values.help,
    keep: values.keep,
    databaseUrl: values['database-url'],
    options: {
      seed: values.seed === undefined ? newSeed() : whole('--seed', values.seed),
      durationMs: Math.round((seconds || DEFAULT_SECONDS) * 1_000),
      leaseTtlMs: LEASE_TTL_MS,
      deadlineMs: DEADLINE_MS,
      ...load,
      batchSize:
        values['batch-size'] === undefined ? load.batchSize : whole('--batch-size', values['batch-size']),
      writers: values.writers === undefined ? load.writers : whole('--writers', values.writers),
    },
  };
}

function mutantNamed(name: string): MutantName {
  const found = mutantNames.find((known) => known === name);
  if (found === undefined)
    throw new Error(`expected --mutant to be one of ${mutantNames.join(', ')}, got "${name}"`);
  return found;
}

function positive(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`expected ${flag} to be a positive number, got "${text}"`);
}

function whole(flag: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`expected ${flag} to be a positive whole number, got "${text}"`);
}

function newSeed(): number {
  return Math.trunc(Math.random() * 1_000_000) + 1;
}
