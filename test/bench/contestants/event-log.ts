// The log that Pulsebox and the raw read loop both read: one table, loaded once.

import { jobsMigrations } from '@pulsebox/jobs';
import { outboxMigrations } from '@pulsebox/outbox';
import { migrate, postgresMigrations } from '@pulsebox/postgres';
import { query } from '../harness/bench-server.ts';
import { PAYLOAD_SQL } from '../harness/payload.ts';

export async function installLog(url: string): Promise<void> {
  await migrate({ connectionString: url }, [postgresMigrations, jobsMigrations, outboxMigrations]);
}

/** COUNT how many. A thousand keys; a thousand events a transaction, so that the log is not all of one xid. */
const FILL = `
  do $$
  declare
    chunk integer;
  begin
    for chunk in select generate_series(1, COUNT, 1000) loop
      insert into outbox.event (topic, key, payload)
      select 'bench.event', 'key:' || i % 1000, ${PAYLOAD_SQL}
      from generate_series(chunk, least(chunk + 999, COUNT)) as i;
      commit;
    end loop;
  end $$`;

export async function fillLog(url: string, events: number): Promise<void> {
  // DO takes no parameters; COUNT is a number of ours.
  await query(url, FILL.replaceAll('COUNT', String(events)));
}
