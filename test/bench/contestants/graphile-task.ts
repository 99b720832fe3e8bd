// What both settings of graphile-worker share: schema, loading, adding a job, and a quiet logger.

import { Logger, runMigrations } from 'graphile-worker';
import type { ClientBase } from 'pg';
import { query } from '../harness/bench-server.ts';
import { PAYLOAD_SQL, payload } from '../harness/payload.ts';

export const TASK = 'bench';

/** Writing a line per job would be all that is measured. */
export const quiet: Logger = new Logger(() => (level, message) => {
  if (level === 'error' || level === 'warning') console.error(message);
});

export async function installGraphile(url: string): Promise<void> {
  await runMigrations({ connectionString: url, logger: quiet });
}

/** $1 how many. The batch function that its authors load their own benchmark with. */
const FILL = `
  select 1 from graphile_worker.add_jobs(array(
    select json_populate_record(null::graphile_worker.job_spec,
                                json_build_object('identifier', '${TASK}', 'payload', ${PAYLOAD_SQL}))
    from generate_series(1, $1::int) i))`;

export async function fillGraphile(url: string, events: number): Promise<void> {
  await query(url, FILL, [events]);
}

export async function addJob(client: ClientBase, id: number): Promise<void> {
  await client.query('select graphile_worker.add_job($1, $2::json)', [TASK, JSON.stringify(payload(id))]);
}
