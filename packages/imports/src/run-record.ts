// What a run reads from the import's row and writes into it. Every run has a number, and every write names it: a worker
// that was thought dead, and comes back, changes nothing.

import { traceHeaders } from '@pulsebox/outbox';
import type { Queryable } from '@pulsebox/postgres';
import type { ImportFormat } from './detect-format.ts';
import type { FilePrefix } from './file-bytes.ts';
import type { ImportCounts } from './import-job.ts';
import { ImportsError } from './imports-error.ts';

/** A run of an import, as it begins. */
export interface Run {
  readonly jobId: string;
  readonly number: number;
  readonly orgId: string;
  readonly ownerId: string | null;
  readonly filePath: string;
  readonly deleteFile: boolean;
  readonly format: ImportFormat | 'auto';
  /** As it is stored; to be parsed. */
  readonly mapping: unknown;
  readonly updateExisting: boolean;
  readonly includeCompleted: boolean;
  readonly dryRun: boolean;
  readonly emitEvents: boolean;
  readonly wanted: Wanted;
  /** Runs since the last chunk, this one included. */
  readonly attempts: number;
  readonly counts: ImportCounts;
  /** Of the file when the first run opened it. */
  readonly file: { readonly bytes: number; readonly modifiedAtMs: number } | undefined;
  /** What the last run had read when its last chunk was committed. */
  readonly prefix: FilePrefix | undefined;
}

/** What a person has asked for. */
export type Wanted = 'pause' | 'cancel' | null;

/** A running import that was not heard of for so long is taken up by whoever finds it, in seconds. */
export const SILENT_SECONDS = 30;

/**
 * Result: the run. $1 job, $2 runner, $3 seconds of silence. By the primary key. 0 rows: there is nothing to run, or
 * another worker runs it. The same runner again is one that pg-boss has given to us since its worker has died.
 */
export const BEGIN_RUN = `
  update app.import_jobs
     set state = 'running', run = run + 1, runner = $2, attempts = attempts + 1,
         started_at = coalesce(started_at, clock_timestamp()), beat_at = clock_timestamp()
   where job_id = $1
     and (state = 'queued'
          or state = 'running' and (runner = $2 or beat_at < clock_timestamp() - $3 * interval '1 second'))
  returning job_id, run, org_id, owner_id, file_path, delete_file, format, mapping, update_existing, include_completed,
            dry_run, emit_events, wanted, attempts, processed, created, updated, unchanged, skipped, failed,
            file_bytes, extract(epoch from file_modified_at) * 1000 as file_modified_ms, bytes_read, prefix_hash`;

/** $1 job, $2 run, $3 bytes, $4 modified at. By the primary key. 0 rows: the run is over. */
const SET_FILE = `
  update app.import_jobs set file_bytes = $3, file_modified_at = $4
   where job_id = $1 and run = $2 and state = 'running'`;

/** Result: what a person wants. $1 job, $2 run. By the primary key. 0 rows: the run is over. */
export const BEAT = `
  update app.import_jobs set beat_at = clock_timestamp()
   where job_id = $1 and run = $2 and state = 'running'
  returning wanted`;

/**
 * Result: what a person wants. $1 job, $2 run, $3 to $8 what the chunk adds to processed, created, updated, unchanged,
 * skipped and failed; $9 bytes read, $10 hash of them, $11 rows a second, $12 seconds left, $13 processed before.
 * By the primary key. 0 rows: the run is over, and with it this transaction.
 */
export const COUNT_CHUNK = `
  update app.import_jobs
     set processed = processed + $3, created = created + $4, updated = updated + $5, unchanged = unchanged + $6,
         skipped = skipped + $7, failed = failed + $8, bytes_read = $9, prefix_hash = $10,
         rows_per_second = $11, seconds_left = $12, attempts = 0, beat_at = clock_timestamp()
   where job_id = $1 and run = $2 and state = 'running' and processed = $13
  returning wanted`;

/** $1 job, $2 rows, $3 lines, $4 reasons. Inserts only. */
const KEEP_FAULTS = `
  insert into app.import_faults (job_id, row_number, line, reason)
  select $1, row_number, line, reason
  from unnest($2::bigint[], $3::bigint[], $4::text[]) as f(row_number, line, reason)`;

/** $1 job, $2 run, $3 state, $4 reason. By the primary key. 0 rows: the run is over already. */
const END_RUN = `
  update app.import_jobs
     set state = $3, reason = $4, wanted = null, beat_at = clock_timestamp(),
         ended_at = case when $3 in ('cancelled', 'completed', 'failed') then clock_timestamp() end,
         bytes_read = case when $3 = 'completed' then coalesce(file_bytes, bytes_read) else bytes_read end,
         seconds_left = case when $3 = 'completed' then 0 end
   where job_id = $1 and run = $2 and state = 'running'`;

/**
 * $1 job, $2 run. By the primary key. 0 rows: the run is over, or nobody wants the pause any more: it was resumed in the
 * same moment.
 */
const PAUSE_RUN = `
  update app.import_jobs set state = 'paused', wanted = null, beat_at = clock_timestamp(), seconds_left = null
   where job_id = $1 and run = $2 and state = 'running' and wanted = 'pause'`;

/** $1 key, $2 payload, $3 headers. */
const EMIT_PUSH = `
  insert into outbox.event (topic, key, payload, headers) values ('push.requested', $1, $2, $3)`;

/** Undefined: nothing is to be run here. */
export async function beginRun(db: Queryable, jobId: string, runner: string): Promise<Run | undefined> {
  const { rows } = await db.query<RunRow>(BEGIN_RUN, [jobId, runner, SILENT_SECONDS]);
  return rows.map(runOf)[0];
}

type Fence = Pick<Run, 'jobId' | 'number'>;

/** @throws IMPORTS_FENCED */
export async function setFile(
  db: Queryable,
  run: Fence,
  file: { readonly bytes: number; readonly modifiedAt: Date },
): Promise<void> {
  fenced(run, (await db.query(SET_FILE, [run.jobId, run.number, file.bytes, file.modifiedAt])).rowCount);
}

/** @throws IMPORTS_FENCED */
export async function beat(db: Queryable, run: Fence): Promise<Wanted> {
  const { rows, rowCount } = await db.query<{ wanted: Wanted }>(BEAT, [run.jobId, run.number]);
  fenced(run, rowCount);
  return rows[0]?.wanted ?? null;
}

export interface ChunkRecord {
  readonly added: ImportCounts;
  readonly processedBefore: number;
  readonly faults: readonly { readonly number: number; readonly line: number; readonly fault: string }[];
  readonly prefix: FilePrefix;
  readonly rowsPerSecond: number | null;
  readonly secondsLeft: number | null;
}

/** In the transaction of the chunk's rows. @throws IMPORTS_FENCED */
export async function recordChunk(db: Queryable, run: Fence, chunk: ChunkRecord): Promise<Wanted> {
  const { added, faults, prefix } = chunk;
  const { rows, rowCount } = await db.query<{ wanted: Wanted }>(COUNT_CHUNK, [
    run.jobId,
    run.number,
    added.processed,
    added.created,
    added.updated,
    added.unchanged,
    added.skipped,
    added.failed,
    prefix.bytesRead,
    prefix.hash,
    chunk.rowsPerSecond,
    chunk.secondsLeft,
    chunk.processedBefore,
  ]);
  fenced(run, rowCount);
  if (faults.length > 0) {
    await db.query(KEEP_FAULTS, [
      run.jobId,
      faults.map(({ number }) => number),
      faults.map(({ line }) => line),
      faults.map(({ fault }) => fault),
    ]);
  }
  return rows[0]?.wanted ?? null;
}

/** False: go on. */
export async function pauseRun(db: Queryable, run: Fence): Promise<boolean> {
  const { rowCount } = await db.query(PAUSE_RUN, [run.jobId, run.number]);
  return rowCount === 1;
}

/** How a run ends. `queued`: another one goes on with it. */
export type RunEnd =
  | { readonly state: 'completed' | 'cancelled' | 'queued' }
  | { readonly state: 'failed'; readonly reason: string };

/**
 * In a transaction of the caller's. The owner is told once of an import that has completed or failed, and not of one
 * that was cancelled.
 *
 * @throws IMPORTS_FENCED
 */
export async function endRun(db: Queryable, run: Run, end: RunEnd, counts: ImportCounts): Promise<void> {
  const reason = end.state === 'failed' ? end.reason : null;
  fenced(run, (await db.query(END_RUN, [run.jobId, run.number, end.state, reason])).rowCount);
  if (run.ownerId === null || (end.state !== 'completed' && end.state !== 'failed')) return;
  const notification = {
    title: `${run.dryRun ? 'Trial import' : 'Import'} ${end.state === 'failed' ? 'failed' : 'finished'}`,
    body: end.state === 'failed' ? shortened(end.reason) : summaryOf(counts),
    tag: `import-${run.jobId}`,
    data: { job_id: run.jobId, state: end.state, ...counts },
  };
  const payload = { user_id: run.ownerId, payload: notification };
  await db.query(EMIT_PUSH, [`user:${run.ownerId}`, JSON.stringify(payload), traceHeaders() ?? {}]);
}

function summaryOf(counts: ImportCounts): string {
  const named = (['created', 'updated', 'unchanged', 'skipped', 'failed'] as const)
    .filter((outcome) => counts[outcome] > 0)
    .map((outcome) => `${counts[outcome].toLocaleString('en-US')} ${outcome}`);
  return named.length === 0 ? 'No rows' : named.join(', ');
}

/** A notification has room for 3,993 bytes. */
function shortened(reason: string): string {
  return reason.length <= 300 ? reason : `${reason.slice(0, 299).toWellFormed()}…`;
}

function fenced({ jobId, number }: Fence, rowCount: number | null): void {
  if (rowCount === 1) return;
  throw new ImportsError('IMPORTS_FENCED', `run ${number} of the import ${jobId} is over`, {
    hint: 'another worker has taken the import up, or it was deleted; this one stops, and has written nothing since',
  });
}

interface RunRow {
  readonly job_id: string;
  readonly run: string;
  readonly org_id: string;
  readonly owner_id: string | null;
  readonly file_path: string;
  readonly delete_file: boolean;
  readonly format: ImportFormat | 'auto';
  readonly mapping: unknown;
  readonly update_existing: boolean;
  readonly include_completed: boolean;
  readonly dry_run: boolean;
  readonly emit_events: boolean;
  readonly wanted: Wanted;
  readonly attempts: number;
  readonly processed: string;
  readonly created: string;
  readonly updated: string;
  readonly unchanged: string;
  readonly skipped: string;
  readonly failed: string;
  readonly file_bytes: string | null;
  readonly file_modified_ms: string | null;
  readonly bytes_read: string;
  readonly prefix_hash: Buffer | null;
}

function runOf(row: RunRow): Run {
  return {
    jobId: row.job_id,
    number: Number(row.run),
    orgId: row.org_id,
    ownerId: row.owner_id,
    filePath: row.file_path,
    deleteFile: row.delete_file,
    format: row.format,
    mapping: row.mapping,
    updateExisting: row.update_existing,
    includeCompleted: row.include_completed,
    dryRun: row.dry_run,
    emitEvents: row.emit_events,
    wanted: row.wanted,
    attempts: row.attempts,
    counts: {
      processed: Number(row.processed),
      created: Number(row.created),
      updated: Number(row.updated),
      unchanged: Number(row.unchanged),
      skipped: Number(row.skipped),
      failed: Number(row.failed),
    },
    file:
      row.file_bytes === null
        ? undefined
        : { bytes: Number(row.file_bytes), modifiedAtMs: Math.round(Number(row.file_modified_ms)) },
    prefix:
      row.prefix_hash === null ? undefined : { bytesRead: Number(row.bytes_read), hash: row.prefix_hash },
  };
}
