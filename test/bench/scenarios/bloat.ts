// What delivery leaves dead in the tables, and whether reading a cursor stays cheap while nothing can be cleaned away.

import { setTimeout as sleep } from 'node:timers/promises';
import { count, ms } from '../harness/figures.ts';
import { query } from '../harness/bench-server.ts';
import { runJob } from '../harness/child.ts';
import type { Scenario, ScenarioReport, Table } from '../harness/scenario.ts';
import type { ConsumeInput } from '../jobs/consume.ts';
import type { CursorCost, HeldSnapshotInput, HeldSnapshotOutput } from '../jobs/held-snapshot.ts';
import type { LoadInput } from '../jobs/load.ts';

const EVENTS = 300_000;
const STORES = 20_000;

/** A page more, where a split put the newest row behind another level of the index, is not growth. */
const FLAT_WITHIN_PAGES = 2;

interface EventTables {
  readonly live: number;
  readonly dead: number;
  readonly updated: number;
  readonly deleted: number;
}

/** Result: sums over the log's partitions. Autovacuum is kept off them meanwhile, or it would tidy up for us. */
const EVENT_TABLES = `
  select sum(n_live_tup)::float8 as live, sum(n_dead_tup)::float8 as dead,
         sum(n_tup_upd)::float8 as updated, sum(n_tup_del)::float8 as deleted
  from pg_stat_user_tables where schemaname = 'outbox' and relname like 'event_until_%'`;

export const bloat: Scenario = {
  name: 'bloat',
  summary: 'dead rows after a drain, and cursor reads while another session holds a snapshot',
  async run({ server, scale, progress }): Promise<ScenarioReport> {
    const url = await server.freshDatabase('bench_bloat');
    const events = Math.round(EVENTS * scale);
    progress(`draining ${count(events)} events`);
    const where = { url, run: 'bloat-drain' };
    const schema: LoadInput = { contestant: 'pulsebox', where, events: 0 };
    await runJob('load', schema);
    await keepAutovacuumOff(url);
    const backlog: LoadInput = { contestant: 'pulsebox', where, events };
    await runJob('load', backlog);
    const drain: ConsumeInput = { contestant: 'pulsebox', where, events };
    await runJob('consume', drain);
    // Sessions report what they have counted when they end, and the last ones have just ended.
    await sleep(1_000);
    const tables = (await query<EventTables>(url, EVENT_TABLES))[0];
    if (tables === undefined) throw new Error('no statistics');
    const rewritten = tables.dead + tables.updated + tables.deleted;

    const stores = Math.round(STORES * scale);
    progress(`storing ${count(stores)} cursors under a held snapshot, in two ways`);
    const input: HeldSnapshotInput = { url, stores };
    const { output: held } = await runJob<HeldSnapshotOutput>('held-snapshot', input);
    const growth = held.pulsebox.after.loadPages - held.pulsebox.before.loadPages;
    return {
      title: 'Bloat: dead rows, and cursors under a held snapshot',
      goals: [
        {
          text: `bloat: 0 dead rows in the event tables after ${count(events)} events`,
          measured: count(rewritten),
          met: rewritten === 0 && tables.live >= events,
        },
        {
          text: `bloat: cursor reads flat over ${count(stores)} stores under a held snapshot`,
          measured: `${held.pulsebox.before.loadPages} → ${held.pulsebox.after.loadPages} pages`,
          met: growth <= FLAT_WITHIN_PAGES,
        },
      ],
      tables: [cursorTable(held)],
      notes: [
        `Event tables after loading and draining, with autovacuum off: ${count(tables.live)} live rows, ${count(tables.dead)} dead, ${count(tables.updated)} updated, ${count(tables.deleted)} deleted.`,
        `A repeatable-read transaction stays open while ${count(stores)} cursors are stored; the lease is renewed and old rows are pruned as a relay does. Pages are those that EXPLAIN (ANALYZE, BUFFERS) counts for finding the cursor in force.`,
      ],
      data: { events, tables, stores, held },
    };
  },
};

/** Dead rows that are vacuumed away in time would look like none. */
async function keepAutovacuumOff(url: string): Promise<void> {
  const partitions = await query<{ name: string }>(
    url,
    `select c.oid::regclass::text as name from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'outbox.event'::regclass`,
  );
  for (const { name } of partitions) await query(url, `alter table ${name} set (autovacuum_enabled = off)`);
}

function cursorTable({ pulsebox, naive }: HeldSnapshotOutput): Table {
  const row = (label: string, { before, after }: { before: CursorCost; after: CursorCost }): string[] => [
    label,
    `${count(before.loadPages)} → ${count(after.loadPages)}`,
    `${ms(before.loadMs)} → ${ms(after.loadMs)}`,
    `${ms(before.storeMs)} → ${ms(after.storeMs)}`,
  ];
  return {
    head: ['cursor', 'pages to read it', 'time to read it', 'time to store it'],
    rows: [row('Pulsebox: a row a batch, pruned', pulsebox), row('one row, updated', naive)],
  };
}
