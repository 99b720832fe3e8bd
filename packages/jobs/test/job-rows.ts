// What the database holds of jobs, for tests.

import { randomBytes } from 'node:crypto';
import type { Queryable } from '@pulsebox/postgres';
import { defineQueue } from '../src/index.ts';
import type { Queue, QueueOptions } from '../src/index.ts';

export interface Numbered {
  readonly n: number;
}

export interface JobRow {
  readonly n: number;
  readonly state: string;
  readonly attempts: number;
  readonly output: Readonly<Record<string, unknown>> | null;
  readonly waitSeconds: number;
}

/** A queue that no other test uses. */
export function newQueue(options: QueueOptions = {}): Queue<Numbered> {
  return defineQueue<Numbered>(`q-${randomBytes(6).toString('hex')}`, options);
}

/** The jobs of a queue in the order of their numbers. */
export async function rowsOf(db: Queryable, queue: Queue): Promise<readonly JobRow[]> {
  const { rows } = await db.query<JobRow>(
    `select (data->>'n')::int as n, state::text, retry_count + 1 as attempts, output,
            extract(epoch from start_after - now())::float8 as "waitSeconds"
       from pgboss.job where name = $1 order by 1`,
    [queue.name],
  );
  return rows;
}

/** As if the workers of the queue's jobs had not been heard of for a minute. */
export async function silence(db: Queryable, queue: Queue): Promise<void> {
  await db.query(
    `update pgboss.job set heartbeat_on = heartbeat_on - interval '1 minute' where name = $1 and state = 'active'`,
    [queue.name],
  );
}
