// What a person may do to an import: pause, resume, cancel, retry. The row decides; a running worker looks at it.

import { transaction } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import { isJobId } from './import-job.ts';
import type { ImportState } from './import-job.ts';
import { emitRequested } from './request-import.ts';

/**
 * `done: false`: its state does not allow it. `pending`: the worker that runs it does so after its present chunk; where
 * that worker has died, whoever takes the import up next does.
 */
export type Control =
  | { readonly done: true; readonly state: ImportState; readonly pending: boolean }
  | { readonly done: false; readonly reason: 'unknown' }
  | { readonly done: false; readonly reason: 'state'; readonly state: ImportState };

/** Result: the state now. $1 job. By the primary key. 0 rows: it is neither queued nor running. */
const PAUSE = `
  update app.import_jobs
     set wanted = case when state = 'running' then 'pause' end,
         state = case when state = 'running' then state else 'paused' end
   where job_id = $1 and state in ('queued', 'running') and wanted is distinct from 'cancel'
  returning state`;

/** Result: the state now. $1 job. By the primary key. 0 rows: it has ended. */
const CANCEL = `
  update app.import_jobs
     set wanted = case when state = 'running' then 'cancel' end,
         state = case when state = 'running' then state else 'cancelled' end,
         ended_at = case when state = 'running' then null else clock_timestamp() end
   where job_id = $1 and state in ('queued', 'running', 'paused')
  returning state`;

/** $1 job. By the primary key. 0 rows: it is not paused, nor about to be. */
const RESUME = `
  update app.import_jobs
     set state = case when state = 'paused' then 'queued' else state end, wanted = null,
         beat_at = clock_timestamp(), attempts = 0
   where job_id = $1 and (state = 'paused' or state = 'running' and wanted = 'pause')
  returning state`;

/**
 * From the beginning: what is there already is unchanged then, and the counts are those of the whole file, which may be
 * another one by now. $1 job. By the primary key. 0 rows: it has neither failed nor been cancelled.
 */
const RETRY = `
  update app.import_jobs
     set state = 'queued', wanted = null, reason = null, ended_at = null, started_at = null,
         beat_at = clock_timestamp(), attempts = 0,
         processed = 0, created = 0, updated = 0, unchanged = 0, skipped = 0, failed = 0,
         file_bytes = null, file_modified_at = null, bytes_read = 0, prefix_hash = null,
         rows_per_second = null, seconds_left = null
   where job_id = $1 and state in ('failed', 'cancelled')
  returning state`;

/** $1 job. By the primary key. */
const FORGET_FAULTS = `delete from app.import_faults where job_id = $1`;

/** $1 job. By the primary key. 0 rows: there is none. */
const STATE = `select state from app.import_jobs where job_id = $1`;

/** What is imported stays; it goes on from there when it is resumed. */
export async function pauseImport(pool: Pool, jobId: string): Promise<Control> {
  return await control(pool, jobId, async (db) => stateAfter(db, PAUSE, jobId));
}

/** What is imported stays. */
export async function cancelImport(pool: Pool, jobId: string): Promise<Control> {
  return await control(pool, jobId, async (db) => stateAfter(db, CANCEL, jobId));
}

/** Goes on behind the last row that was committed. */
export async function resumeImport(pool: Pool, jobId: string): Promise<Control> {
  return await transaction(pool, async (client) =>
    control(client, jobId, async (db) => {
      const state = await stateAfter(db, RESUME, jobId);
      if (state === 'queued') await emitRequested(client, jobId);
      return state;
    }),
  );
}

/** Runs a failed or cancelled import again, from the beginning of the file as it is now. */
export async function retryImport(pool: Pool, jobId: string): Promise<Control> {
  return await transaction(pool, async (client) =>
    control(client, jobId, async (db) => {
      const state = await stateAfter(db, RETRY, jobId);
      if (state === undefined) return undefined;
      await db.query(FORGET_FAULTS, [jobId]);
      await emitRequested(client, jobId);
      return state;
    }),
  );
}

async function control(
  db: Queryable,
  jobId: string,
  change: (db: Queryable) => Promise<ImportState | undefined>,
): Promise<Control> {
  if (!isJobId(jobId)) return { done: false, reason: 'unknown' };
  const state = await change(db);
  if (state !== undefined) return { done: true, state, pending: state === 'running' };
  const present = await stateAfter(db, STATE, jobId);
  return present === undefined
    ? { done: false, reason: 'unknown' }
    : { done: false, reason: 'state', state: present };
}

async function stateAfter(db: Queryable, text: string, jobId: string): Promise<ImportState | undefined> {
  const { rows } = await db.query<{ state: ImportState }>(text, [jobId]);
  return rows[0]?.state;
}
