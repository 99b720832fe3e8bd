// Puts jobs into a queue, in a transaction of the caller's where there is one.

import { randomUUID } from 'node:crypto';
import type { Queryable } from '@pulsebox/postgres';
import pg from 'pg';
import type { JobInsert } from 'pg-boss';
import { queueUnknown } from './boss.ts';
import type { Boss } from './boss.ts';
import { throughClient } from './database.ts';
import type { Database } from './database.ts';
import { activeTrace, withTrace } from './job-trace.ts';
import type { JobTrace } from './job-trace.ts';
import { JobsError } from './jobs-error.ts';
import type { Queue } from './queue.ts';
import { JOBS_SCHEMA } from './schema.ts';

export interface SendOptions {
  /** What the queue's policy counts by. Default: none. */
  readonly key?: string;
  /** Not before so many seconds have passed on the database's clock. Default 0. */
  readonly delaySeconds?: number;
  /** Not before this moment; instead of `delaySeconds`. */
  readonly startAt?: Date;
  /** Greater ones are run first. Default 0. */
  readonly priority?: number;
  /** Instead of the queue's. */
  readonly attempts?: number;
  /** A UUID. A job whose id was sent before, and is still kept, is not sent again. Default: a random one. */
  readonly id?: string;
  /** The trace that its attempts are a part of, as headers. Default: the active span's, where the process traces. */
  readonly trace?: JobTrace | undefined;
}

export interface JobToSend<Data extends object> extends SendOptions {
  readonly data: Data;
}

/** `duplicate`: the id was sent before, or the queue's policy allows no more jobs of the key. */
export type Sent =
  | { readonly sent: true; readonly id: string }
  | { readonly sent: false; readonly reason: 'duplicate' };

/** One row: whether the queue is there. $1 its name. Index: queue_pkey. */
const QUEUE_EXISTS = `select exists (select from ${JOBS_SCHEMA}.queue where name = $1) as known`;

/** The answers are in the order of the jobs; one statement, however many they are. */
export async function send<Data extends object>(
  boss: Boss,
  queue: Queue<Data>,
  jobs: readonly JobToSend<Data>[],
  client: Queryable | undefined,
): Promise<readonly Sent[]> {
  if (jobs.length === 0) return [];
  const active = activeTrace();
  const rows = jobs.map((job) => rowOf(queue, 'trace' in job ? job : { ...job, trace: active }));
  const ids = await boss.use(async (pgboss) => {
    const db = client === undefined ? pgboss.getDb() : throughClient(client);
    try {
      const stored = (await pgboss.insert(queue.name, rows, { returnId: true, db })) ?? [];
      if (stored.length < rows.length) await assertThere(db, queue);
      return stored;
    } catch (error) {
      // jsonb takes neither NUL nor half a surrogate pair.
      if (!(error instanceof pg.DatabaseError) || error.code !== '22P05') throw error;
      throw invalid(queue, `expected data that PostgreSQL can store, got ${error.message}`, error);
    }
  });
  const stored = new Set(ids);
  return rows.map(({ id }) => (stored.has(id) ? { sent: true, id } : { sent: false, reason: 'duplicate' }));
}

/** A queue that was removed under a process that knew it takes nothing, and looks as if it were full of duplicates. */
async function assertThere(db: Database, queue: Queue): Promise<void> {
  const { rows } = await db.executeSql(QUEUE_EXISTS, [queue.name]);
  if ((rows[0] as { readonly known: boolean } | undefined)?.known !== true) throw queueUnknown(queue.name);
}

function rowOf<Data extends object>(
  queue: Queue<Data>,
  job: JobToSend<Data>,
): JobInsert<Data> & { id: string } {
  const { data, key, delaySeconds, startAt, priority, attempts, trace, id = randomUUID() } = job;
  if (typeof data !== 'object' || (data as object | null) === null) {
    throw invalid(queue, `expected data to be an object, got ${JSON.stringify(data)}`);
  }
  if (delaySeconds !== undefined && startAt !== undefined) {
    throw invalid(queue, 'expected delaySeconds or startAt, got both');
  }
  if (delaySeconds !== undefined && !(Number.isFinite(delaySeconds) && delaySeconds >= 0)) {
    throw invalid(queue, `expected delaySeconds to be a number from 0 up, got ${delaySeconds}`);
  }
  if (startAt !== undefined && Number.isNaN(startAt.getTime())) {
    throw invalid(queue, 'expected startAt to be a date, got an invalid one');
  }
  if (priority !== undefined && !Number.isSafeInteger(priority)) {
    throw invalid(queue, `expected priority to be a whole number, got ${priority}`);
  }
  if (attempts !== undefined && !(Number.isSafeInteger(attempts) && attempts >= 1)) {
    throw invalid(queue, `expected attempts to be a whole number from 1 up, got ${attempts}`);
  }
  if (!/^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/.test(id)) {
    throw invalid(queue, `expected id to be a UUID in lower case, got ${JSON.stringify(id)}`);
  }
  return {
    id,
    data: withTrace(data, trace),
    ...(key === undefined ? {} : { singletonKey: key }),
    ...(delaySeconds === undefined ? {} : { startAfter: delaySeconds }),
    ...(startAt === undefined ? {} : { startAfter: startAt.toISOString() }),
    ...(priority === undefined ? {} : { priority }),
    ...(attempts === undefined ? {} : { retryLimit: attempts - 1 }),
  };
}

function invalid(queue: Queue, message: string, cause?: unknown): JobsError {
  return new JobsError('JOBS_JOB_INVALID', `a job for ${queue.name}: ${message}`, {
    hint: 'mend the call that sends it; nothing was sent',
    cause,
  });
}
