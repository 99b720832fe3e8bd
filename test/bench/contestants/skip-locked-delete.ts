// The outbox that people write for themselves: take rows with SKIP LOCKED, delete them, commit when they are handled.

import pg from 'pg';
import type { Contestant } from '../harness/contestant.ts';
import { query } from '../harness/bench-server.ts';
import { PAYLOAD_SQL } from '../harness/payload.ts';

export const CREATE_CLASSIC_OUTBOX = `
  create table classic_outbox (
    id         bigint generated always as identity primary key,
    topic      text not null,
    key        text,
    payload    jsonb not null,
    headers    jsonb not null default '{}',
    created_at timestamptz not null default now()
  )`;

/** $1 how many. */
const FILL = `
  insert into classic_outbox (topic, key, payload)
  select 'bench.event', 'key:' || i % 1000, ${PAYLOAD_SQL} from generate_series(1, $1::int) i`;

/** Result: the rows taken, gone at the commit. Index: classic_outbox_pkey. 0 rows: the end. */
const TAKE = `
  delete from classic_outbox
  where id = any (array(select id from classic_outbox order by id limit 1000 for update skip locked))
  returning id, topic, key, payload, headers, created_at`;

export const contestant: Contestant = {
  name: 'skip-locked-delete',
  label: 'skip locked + delete',
  role: 'hand-written',
  setting: 'begin; delete … for update skip locked limit 1000 returning …; handle; commit',
  keepsEvents: false,
  async install({ url }): Promise<void> {
    await query(url, CREATE_CLASSIC_OUTBOX);
  },
  drain: {
    async load({ url }, events): Promise<void> {
      await query(url, FILL, [events]);
    },
    async consume({ url }, events, clock): Promise<void> {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      clock.start();
      for (let handled = 0; handled < events; ) {
        await client.query('begin');
        const { rows } = await client.query(TAKE);
        await client.query('commit');
        if (rows.length === 0) throw new Error(`the table was empty after ${handled} events`);
        handled += rows.length;
        clock.progress(handled);
      }
      clock.stop();
      await client.end();
    },
  },
};
