// An import as it is stored, for whoever shows one.

import type { Queryable } from '@pulsebox/postgres';
import type { ImportFormat } from './detect-format.ts';

export type ImportState = 'queued' | 'running' | 'paused' | 'cancelled' | 'completed' | 'failed';

/** `processed` is the sum of the others. */
export interface ImportCounts {
  readonly processed: number;
  readonly created: number;
  readonly updated: number;
  /** There already, with the same content: nothing was written. */
  readonly unchanged: number;
  /** Completed, where those are left out; there already, where those stay as they are. */
  readonly skipped: number;
  readonly failed: number;
}

export interface ImportStatus {
  readonly jobId: string;
  readonly orgId: string;
  readonly ownerId: string | null;
  readonly filePath: string;
  readonly format: ImportFormat | 'auto';
  readonly updateExisting: boolean;
  readonly includeCompleted: boolean;
  readonly dryRun: boolean;
  readonly emitEvents: boolean;
  readonly state: ImportState;
  /** What a person has asked for, and its worker has not done yet. */
  readonly wanted: 'pause' | 'cancel' | null;
  /** Why it has failed, and what to do. */
  readonly reason: string | null;
  readonly counts: ImportCounts;
  /** Of the file as it lies on the disk. Null: it was not opened yet. */
  readonly fileBytes: number | null;
  readonly bytesRead: number;
  readonly rowsPerSecond: number | null;
  /** Null where nothing is known. */
  readonly secondsLeft: number | null;
  /** How long a running import was not heard of, in seconds. */
  readonly silentSeconds: number;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly endedAt: Date | null;
}

export interface ImportFault {
  /** Which row of the file, from 1. */
  readonly row: number;
  /** Where it begins. */
  readonly line: number;
  readonly reason: string;
}

/** 0 rows: there is none. $1 job. By the primary key. Its columns are those of LIST_IMPORTS. */
const READ_IMPORT = `
  select job_id, org_id, owner_id, file_path, format, update_existing, include_completed, dry_run, emit_events,
         state, wanted, reason, processed, created, updated, unchanged, skipped, failed, file_bytes, bytes_read,
         rows_per_second, seconds_left, created_at, started_at, ended_at,
         extract(epoch from clock_timestamp() - beat_at)::float8 as silent_seconds
  from app.import_jobs where job_id = $1`;

/** Those under way first, then the newest. $1 how many. Reads the table, which upkeep keeps small. */
const LIST_IMPORTS = `
  select job_id, org_id, owner_id, file_path, format, update_existing, include_completed, dry_run, emit_events,
         state, wanted, reason, processed, created, updated, unchanged, skipped, failed, file_bytes, bytes_read,
         rows_per_second, seconds_left, created_at, started_at, ended_at,
         extract(epoch from clock_timestamp() - beat_at)::float8 as silent_seconds
  from app.import_jobs order by ended_at is not null, created_at desc, job_id limit $1`;

/** In the order of the file. $1 job. By the primary key. */
const READ_FAULTS = `
  select row_number, line, reason from app.import_faults where job_id = $1 order by row_number`;

/** Undefined: there is none of that id. */
export async function readImport(db: Queryable, jobId: string): Promise<ImportStatus | undefined> {
  if (!isJobId(jobId)) return undefined;
  const { rows } = await db.query<StatusRow>(READ_IMPORT, [jobId]);
  return rows.map(statusOf)[0];
}

/** Those under way first, then the newest. Default: 20. */
export async function listImports(
  db: Queryable,
  { limit = 20 }: { readonly limit?: number } = {},
): Promise<readonly ImportStatus[]> {
  const { rows } = await db.query<StatusRow>(LIST_IMPORTS, [limit]);
  return rows.map(statusOf);
}

/** The first hundred rows that could not be imported. */
export async function importFaults(db: Queryable, jobId: string): Promise<readonly ImportFault[]> {
  if (!isJobId(jobId)) return [];
  const { rows } = await db.query<{ row_number: string; line: string; reason: string }>(READ_FAULTS, [jobId]);
  return rows.map(({ row_number: row, line, reason }) => ({ row: Number(row), line: Number(line), reason }));
}

/** Whether PostgreSQL would take it for a UUID, as it writes one. */
export function isJobId(text: unknown): text is string {
  return typeof text === 'string' && /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text);
}

interface StatusRow {
  readonly job_id: string;
  readonly org_id: string;
  readonly owner_id: string | null;
  readonly file_path: string;
  readonly format: ImportFormat | 'auto';
  readonly update_existing: boolean;
  readonly include_completed: boolean;
  readonly dry_run: boolean;
  readonly emit_events: boolean;
  readonly state: ImportState;
  readonly wanted: 'pause' | 'cancel' | null;
  readonly reason: string | null;
  readonly processed: string;
  readonly created: string;
  readonly updated: string;
  readonly unchanged: string;
  readonly skipped: string;
  readonly failed: string;
  readonly file_bytes: string | null;
  readonly bytes_read: string;
  readonly rows_per_second: number | null;
  readonly seconds_left: number | null;
  readonly created_at: Date;
  readonly started_at: Date | null;
  readonly ended_at: Date | null;
  readonly silent_seconds: number;
}

function statusOf(row: StatusRow): ImportStatus {
  return {
    jobId: row.job_id,
    orgId: row.org_id,
    ownerId: row.owner_id,
    filePath: row.file_path,
    format: row.format,
    updateExisting: row.update_existing,
    includeCompleted: row.include_completed,
    dryRun: row.dry_run,
    emitEvents: row.emit_events,
    state: row.state,
    wanted: row.wanted,
    reason: row.reason,
    counts: {
      processed: Number(row.processed),
      created: Number(row.created),
      updated: Number(row.updated),
      unchanged: Number(row.unchanged),
      skipped: Number(row.skipped),
      failed: Number(row.failed),
    },
    fileBytes: row.file_bytes === null ? null : Number(row.file_bytes),
    bytesRead: Number(row.bytes_read),
    rowsPerSecond: row.rows_per_second,
    secondsLeft: row.seconds_left,
    silentSeconds: Math.max(0, row.silent_seconds),
    createdAt: row.created_at,
    startedAt: row.started_at,
    endedAt: row.ended_at,
  };
}
