// Ends an attempt of a job: completed, failed, or given back. Each takes effect only while the attempt is the current
// one, so that a worker that was thought dead, and comes back, changes nothing.

import { boundedTransaction } from '@pulsebox/postgres';
import type { Queryable } from '@pulsebox/postgres';
import type { Pool } from 'pg';
import type { PgBoss } from 'pg-boss';
import type { Boss } from './boss.ts';
import { STATEMENT_MS, throughClient, throughPool } from './database.ts';
import type { Attempt } from './job.ts';
import { fenced } from './job.ts';
import { jobOutput } from './job-output.ts';
import { JobsError } from './jobs-error.ts';

export interface Joining {
  /** A client inside a transaction of the caller's: what is written commits with it, or not at all. */
  readonly client?: Queryable;
}

export interface CompleteOptions extends Joining {
  /** Kept with the job, for people. */
  readonly output?: object;
}

export interface FailOptions extends Joining {
  /** Instead of the queue's backoff: the wait that a sink asked for. It still counts as an attempt. */
  readonly retryInSeconds?: number;
  /** `false`: the job has failed for good, whatever attempts are left. Default `true`. */
  readonly retry?: boolean;
}

/** `not-ours`: the job was given to another worker meanwhile, or has ended; nothing was written. */
export type Completion = { readonly completed: true } | NotOurs<'completed'>;
export type Failure = { readonly failed: true } | NotOurs<'failed'>;
export type GiveBack = { readonly givenBack: true } | NotOurs<'givenBack'>;

type NotOurs<Name extends string> = { readonly [key in Name]: false } & { readonly reason: 'not-ours' };

/** $1 queue, $2 id, $3 retry_count. By the primary key. 0 rows: the attempt is over. */
const FORBID_RETRIES = `
  update pgboss.job set retry_limit = retry_count
   where name = $1 and id = $2 and state = 'active' and retry_count = $3`;

/** $1 queue, $2 id, $3 seconds. By the primary key. 0 rows: it failed for good. */
const RETRY_IN = `
  update pgboss.job set start_after = pgboss.job_now() + $3 * interval '1 second'
   where name = $1 and id = $2 and state = 'retry'`;

/**
 * $1 queue, $2 id, $3 retry_count. By the primary key. 0 rows: the attempt is over.
 * One attempt more makes up for this one; not taking it off the count keeps every attempt apart from any other.
 */
const GIVE_BACK = `
  update pgboss.job
     set state = 'retry', start_after = pgboss.job_now(), retry_limit = retry_limit + 1, heartbeat_on = null
   where name = $1 and id = $2 and state = 'active' and retry_count = $3
  returning id`;

export async function complete(boss: Boss, attempt: Attempt, options: CompleteOptions): Promise<Completion> {
  const { affected } = await boss.use(async (pgboss) =>
    settled(await pgboss.complete(attempt.queue, fenced(attempt), options.output, joined(options.client))),
  );
  return affected === 1 ? { completed: true } : { completed: false, reason: 'not-ours' };
}

/** One statement, however many they are. Result: the ids of those that were completed. */
export async function completeAll(
  boss: Boss,
  queue: string,
  attempts: readonly Attempt[],
  { client }: Joining,
): Promise<ReadonlySet<string>> {
  if (attempts.length === 0) return new Set();
  const { settled: ids } = await boss.use(async (pgboss) =>
    settled(await pgboss.complete(queue, attempts.map(fenced), undefined, joined(client))),
  );
  return new Set(ids);
}

export async function fail(
  boss: Boss,
  pool: Pool,
  attempt: Attempt,
  { error, client, retry = true, retryInSeconds }: FailOptions & { readonly error: unknown },
): Promise<Failure> {
  if (retryInSeconds !== undefined && !(Number.isFinite(retryInSeconds) && retryInSeconds >= 0)) {
    throw new JobsError(
      'JOBS_JOB_INVALID',
      `a job of ${attempt.queue}: expected retryInSeconds to be a number from 0 up, got ${retryInSeconds}`,
      { hint: 'leave it out for the backoff of the queue' },
    );
  }
  const output = jobOutput(error);
  const affected = await boss.use(async (pgboss) => {
    if (retry && retryInSeconds === undefined) return await failWith(pgboss, attempt, output, client);
    const steps = async (inside: Queryable): Promise<number> => {
      const key = [attempt.queue, attempt.id];
      if (!retry) await inside.query(FORBID_RETRIES, [...key, fenced(attempt).retryCount]);
      const count = await failWith(pgboss, attempt, output, inside);
      if (retry && count === 1) await inside.query(RETRY_IN, [...key, retryInSeconds]);
      return count;
    };
    return client === undefined
      ? await boundedTransaction(pool, { statementMs: STATEMENT_MS }, steps)
      : await steps(client);
  });
  return affected === 1 ? { failed: true } : { failed: false, reason: 'not-ours' };
}

export async function giveBack(
  boss: Boss,
  pool: Pool,
  attempt: Attempt,
  { client }: Joining,
): Promise<GiveBack> {
  const values = [attempt.queue, attempt.id, fenced(attempt).retryCount];
  const { rows } = await boss.use(async () =>
    (client === undefined ? throughPool(pool) : throughClient(client)).executeSql(GIVE_BACK, values),
  );
  return rows.length === 1 ? { givenBack: true } : { givenBack: false, reason: 'not-ours' };
}

/** Says that the attempts are still worked on. Result: the ids of those that are still the current ones. */
export async function heartbeat(
  boss: Boss,
  queue: string,
  attempts: readonly Attempt[],
): Promise<ReadonlySet<string>> {
  if (attempts.length === 0) return new Set();
  const { settled: ids } = await boss.use(async (pgboss) =>
    settled(await pgboss.touch(queue, attempts.map(fenced))),
  );
  return new Set(ids);
}

async function failWith(
  pgboss: PgBoss,
  attempt: Attempt,
  output: object,
  client: Queryable | undefined,
): Promise<number> {
  const response = await pgboss.fail(attempt.queue, fenced(attempt), output, joined(client));
  return settled(response).affected;
}

function joined(client: Queryable | undefined): Parameters<PgBoss['complete']>[3] {
  return client === undefined ? {} : { db: throughClient(client) };
}

/** What pg-boss answers and does not declare: how many rows were written, and of which jobs. */
function settled(response: object): { readonly affected: number; readonly settled: readonly string[] } {
  return response as { affected: number; settled: string[] };
}
