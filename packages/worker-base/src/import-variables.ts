// Where files of imports are, and how they are run, as environment variables.

import { statSync } from 'node:fs';
import { env } from '@pulsebox/loop';
import type { Environment, Variable } from '@pulsebox/loop';

/** Read by whoever puts files there, too. */
export const fileStorageVariables: { readonly FILE_STORAGE_PATH: Variable<string | undefined> } = {
  FILE_STORAGE_PATH: env.optional(
    env.string({
      description:
        'A directory that the application and all workers share: files to import. Unset: imports are off.',
    }),
  ),
};

export const importVariables: typeof fileStorageVariables & {
  readonly IMPORT_CONCURRENCY: Variable<number>;
  readonly IMPORT_CHUNK_ROWS: Variable<number>;
  readonly IMPORT_KEEP_DAYS: Variable<number>;
} = {
  ...fileStorageVariables,
  IMPORT_CONCURRENCY: env.integer({
    description: 'How many imports a worker runs at once, with a database connection each; others wait.',
    default: 1,
    min: 1,
    max: 100,
  }),
  IMPORT_CHUNK_ROWS: env.integer({
    description: 'How many rows of a file are committed at once.',
    default: 1_000,
    min: 1,
    max: 10_000,
  }),
  IMPORT_KEEP_DAYS: env.integer({
    description: 'How long imports that have ended are kept, and files that are their own.',
    default: 30,
    min: 1,
    max: 3_650,
  }),
};

export type ImportConfig = Environment<typeof importVariables>;

/** A rule for `WorkerCommand.check`: a directory that is not there would be found out by the first import. */
export function checkImports({ FILE_STORAGE_PATH: path }: ImportConfig): readonly string[] {
  if (path === undefined || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return [];
  return [`expected FILE_STORAGE_PATH to be a directory that is there, got "${path}"`];
}
