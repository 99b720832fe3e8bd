// pulsebox import pause | resume | cancel | retry: what a person may do to an import.

import type { Command } from 'commander';
import { cancelImport, pauseImport, resumeImport, retryImport } from '@pulsebox/imports';
import type { Control } from '@pulsebox/imports';
import type { Pool } from 'pg';
import { CliError } from '../cli-error.ts';
import { withPool } from '../database.ts';
import { exitCodes } from '../exit-code.ts';
import type { ExitCode } from '../exit-code.ts';
import { announceDatabase } from '../session.ts';
import type { Run, Session } from '../session.ts';

interface Verb {
  readonly name: string;
  readonly description: string;
  readonly change: (pool: Pool, jobId: string) => Promise<Control>;
  /** What is so once it is done. */
  readonly done: string;
  /** What is so while the worker that runs it has not noticed. */
  readonly pending: string;
  /** Of which imports it can be done: the beginning of a sentence. */
  readonly allowed: string;
}

export function declarePause(parent: Command, run: Run): void {
  declare(parent, run, {
    name: 'pause',
    description: 'Stops an import where it is, until it is resumed. What is imported stays.',
    change: pauseImport,
    done: 'is paused',
    pending: 'will be paused after its present chunk',
    allowed: 'expected an import that waits or runs',
  });
}

export function declareResume(parent: Command, run: Run): void {
  declare(parent, run, {
    name: 'resume',
    description: 'Lets a paused import go on behind the last row that was imported.',
    change: resumeImport,
    done: 'waits for a worker',
    pending: 'goes on: it had not stopped yet',
    allowed: 'expected a paused import',
  });
}

export function declareCancel(parent: Command, run: Run): void {
  declare(parent, run, {
    name: 'cancel',
    description: 'Ends an import. What is imported stays.',
    change: cancelImport,
    done: 'is cancelled',
    pending: 'will be cancelled after its present chunk',
    allowed: 'expected an import that has not ended',
  });
}

export function declareRetry(parent: Command, run: Run): void {
  declare(parent, run, {
    name: 'retry',
    description:
      'Runs a failed or cancelled import again, from the beginning of its file. What is there already is unchanged.',
    change: retryImport,
    done: 'waits for a worker',
    pending: 'waits for a worker',
    allowed: 'expected an import that has failed or was cancelled',
  });
}

function declare(parent: Command, run: Run, verb: Verb): void {
  parent
    .command(verb.name)
    .summary(`${verb.name} an import`)
    .description(verb.description)
    .argument('<id>', 'as `pulsebox import status` shows it')
    .action((jobId: string) => run((session) => carryOut(session, jobId, verb)));
}

async function carryOut(session: Session, jobId: string, verb: Verb): Promise<ExitCode> {
  const database = await announceDatabase(session);
  const control = await withPool(database, (pool) => verb.change(pool, jobId));
  if (!control.done) {
    throw new CliError(
      'CLI_USAGE_INVALID',
      control.reason === 'unknown'
        ? `expected the id of an import, got "${jobId}"`
        : `${verb.allowed}, got one that is ${control.state}`,
      {
        hint:
          control.reason === 'unknown'
            ? '`pulsebox import status` lists them'
            : `\`pulsebox import status ${jobId}\` says more of it`,
      },
    );
  }
  session.terminal.result({ jobId, state: control.state, pending: control.pending }, () =>
    control.pending ? `${jobId} ${verb.pending}` : `${jobId} ${verb.done}`,
  );
  return exitCodes.ok;
}
