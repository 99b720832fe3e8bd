// Asks for an import, as an application does: a row and its event, in one transaction of the caller's.

import { emit } from '@pulsebox/outbox';
import type { PoolClient } from 'pg';
import { parseMapping } from './csv-rows.ts';
import type { CsvMapping } from './csv-rows.ts';
import { importFormats } from './detect-format.ts';
import type { ImportFormat } from './detect-format.ts';
import { ImportsError } from './imports-error.ts';
import { checkedPath } from './storage.ts';

/** `{ job_id }`: the import of that row is to be run, or gone on with. */
export const IMPORT_REQUESTED = 'import.requested';

export interface ImportRequest {
  /** Whose items they become. */
  readonly orgId: string;
  /** Who is told of the end. Default: nobody. */
  readonly ownerId?: string | undefined;
  /** Below FILE_STORAGE_PATH, relative to it. */
  readonly filePath: string;
  /** The file is the import's own: it is removed when all of it has been imported. Default false. */
  readonly deleteFile?: boolean | undefined;
  /** Default `auto`: by the name of the file and what stands in it. */
  readonly format?: ImportFormat | 'auto' | undefined;
  /** For CSV. */
  readonly mapping?: CsvMapping | undefined;
  /** Default true. False: items that are there already stay as they are. */
  readonly updateExisting?: boolean | undefined;
  /** Default false: rows whose item is completed are passed over. */
  readonly includeCompleted?: boolean | undefined;
  /** Default false. Everything is read, checked and compared; no item is written. */
  readonly dryRun?: boolean | undefined;
  /** Default true: `item.upserted` for each item that is written. */
  readonly emitEvents?: boolean | undefined;
}

/** Result: the id. */
const INSERT_JOB = `
  insert into app.import_jobs (org_id, owner_id, file_path, delete_file, format, mapping, update_existing,
                               include_completed, dry_run, emit_events)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
  returning job_id`;

/**
 * @returns the id of the import
 * @throws IMPORTS_REQUEST_INVALID, IMPORTS_PATH_FORBIDDEN, IMPORTS_MAPPING_INVALID
 * @throws OUTBOX_NOT_IN_TRANSACTION
 */
export async function requestImport(client: PoolClient, request: ImportRequest): Promise<string> {
  const { format = 'auto', mapping = {} } = request;
  if (format !== 'auto' && !importFormats.includes(format))
    throw invalid(`format to be auto, ${importFormats.join(', ')}`, format);
  const { rows } = await client.query<{ job_id: string }>(INSERT_JOB, [
    named('orgId', request.orgId),
    request.ownerId === undefined ? null : named('ownerId', request.ownerId),
    checkedPath(request.filePath),
    request.deleteFile ?? false,
    format,
    JSON.stringify(parseMapping(mapping)),
    request.updateExisting ?? true,
    request.includeCompleted ?? false,
    request.dryRun ?? false,
    request.emitEvents ?? true,
  ]);
  const jobId = rows[0]?.job_id ?? '';
  await emitRequested(client, jobId);
  return jobId;
}

export async function emitRequested(client: PoolClient, jobId: string): Promise<void> {
  await emit(client, { topic: IMPORT_REQUESTED, key: `import:${jobId}`, payload: { job_id: jobId } });
}

const LONGEST_NAME_BYTES = 500;

function named(field: string, value: string): string {
  const fits = value.trim() !== '' && Buffer.byteLength(value) <= LONGEST_NAME_BYTES && !value.includes('\0');
  if (fits && value.isWellFormed()) return value;
  throw invalid(`${field} to be a text of 1 to ${LONGEST_NAME_BYTES} bytes`, value.slice(0, 60));
}

function invalid(expected: string, got: string): ImportsError {
  return new ImportsError('IMPORTS_REQUEST_INVALID', `expected ${expected}, got ${JSON.stringify(got)}`, {
    hint: 'nothing was requested; mend the call',
  });
}
